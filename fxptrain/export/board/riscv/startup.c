/* Start-up of a bare RISC-V: memory, a painted stack, main; instructions are counted by the core itself. */
#include "board.h"

#include <string.h>

extern uint32_t board_data_source, board_data_start, board_data_end, board_bss_start, board_bss_end, board_stack_top;
extern int main(void);

#define PAINT 0xC0FFEE11u
#define COUNTER(to, name) __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, " name "\n.option pop" : "=r"(to))

void board_start(void);

void board_start(void)
{
    volatile uint32_t *at;
    const uint32_t *source = &board_data_source;
    uint32_t *stack;
    for (at = &board_data_start; at < &board_data_end; at++) {
        *at = *source++;
    }
    __asm__ volatile("mv %0, sp" : "=r"(stack));
    for (at = &board_bss_start; at < stack - 16; at++) {
        *at = (at < &board_bss_end) ? 0u : PAINT;
    }
    board_exit((uint32_t)main());
}

uint32_t board_stack_bytes(void)
{
    const uint32_t *at = &board_bss_end;
    while ((at < &board_stack_top) && (*at == PAINT)) {
        at++;
    }
    return (uint32_t)((const char *)&board_stack_top - (const char *)at);
}

void board_start_ticks(void)
{
}

uint64_t board_ticks(void)
{
    uint32_t high, low, again;
    do {
        COUNTER(high, "minstreth");
        COUNTER(low, "minstret");
        COUNTER(again, "minstreth");
    } while (high != again);
    return ((uint64_t)high << 32) | low;
}

/* What compilers call by themselves; there is no library. */
void *memcpy(void *to, const void *from, size_t count)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (; count > 0; count--) {
        *target++ = *source++;
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    uint8_t *target = to;
    for (; count > 0; count--) {
        *target++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t count)
{
    const uint8_t *left = a, *right = b;
    for (; count > 0; count--) {
        if (*left != *right) {
            return (int)*left - (int)*right;
        }
        left++;
        right++;
    }
    return 0;
}
