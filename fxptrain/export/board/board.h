/* What the board files share. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Call the debugger (QEMU); see "Semihosting for AArch32 and AArch64". */
int32_t board_call(uint32_t operation, const void *argument);

/* End the program with an exit code. */
void board_exit(uint32_t code);

/* Greatest depth of the stack so far, bytes. */
uint32_t board_stack_bytes(void);

/* SysTick, counting down from 2^24 - 1 at the core's clock, and how often it passed zero. */
void board_start_ticks(void);
uint64_t board_ticks(void);

#endif
