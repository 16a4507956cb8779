/* What the verification program needs of the machine it runs on: a host (runner_stdio.c) or an emulated board. */
#ifndef RUNNER_IO_H
#define RUNNER_IO_H

#include <stdint.h>

void io_open(void);                              /* vectors.bin to read, results.bin to write */
void io_read(void *to, uint32_t bytes);          /* ends the program with code 3 where the vectors end early */
void io_write(const void *from, uint32_t bytes); /* ends the program with code 4 where nothing can be written */
uint64_t io_ticks(void);                         /* instructions so far, in ticks of the board; 0 on a host */
void io_close(void);

/* A file in place of flash memory; what was never written reads as zeros. */
void io_flash_read(uint32_t at, uint8_t *bytes, uint32_t count);
void io_flash_write(uint32_t at, const uint8_t *bytes, uint32_t count);

#endif
