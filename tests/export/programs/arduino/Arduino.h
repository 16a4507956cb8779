/* As much of Arduino as the sketches call, to compile them on a host. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdint.h>

struct Port {
    void begin(long) {}
    template <class Any> void print(Any) {}
    template <class Any> void println(Any) {}
};
static Port Serial;
static inline void delay(long) {}

#endif
