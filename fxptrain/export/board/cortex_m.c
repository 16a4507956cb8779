/* Start-up of a bare Cortex-M: vectors, memory, a painted stack, main; faults end with their own exit codes. */
#include "board.h"

extern uint32_t board_data_source, board_data_start, board_data_end, board_bss_start, board_bss_end, board_stack_top;
extern int main(void);

#define PAINT 0xC0FFEE11u
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define SYSTICK_MOST 0x00FFFFFFu

static volatile uint32_t wraps;

void reset(void);

__attribute__((noinline)) static void fill(uint32_t *from, const uint32_t *to, uint32_t value)
{
    while (from < to) {
        *(volatile uint32_t *)from++ = value;
    }
}

__attribute__((noinline)) static void copy(const uint32_t *source, uint32_t *from, const uint32_t *to)
{
    while (from < to) {
        *(volatile uint32_t *)from++ = *source++;
    }
}

void reset(void)
{
    uint32_t *stack;
#ifdef __ARM_FEATURE_MVE
    *(volatile uint32_t *)0xE000ED88u |= 0x00F00000u; /* vector instructions, before the first of them */
    __asm__ volatile("dsb\n\tisb");
#endif
    copy(&board_data_source, &board_data_start, &board_data_end);
    fill(&board_bss_start, &board_bss_end, 0);
    __asm__ volatile("mov %0, sp" : "=r"(stack));
    fill(&board_bss_end, stack - 16, PAINT); /* leaves room for the calls of this function */
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
    SYSTICK_RELOAD = SYSTICK_MOST;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7u; /* core clock, interrupt, on */
}

uint64_t board_ticks(void)
{
    uint32_t before, value;
    do { /* a wrap between the two readings would count twice or not at all */
        before = wraps;
        value = SYSTICK_VALUE;
    } while (before != wraps);
    return (uint64_t)before * (SYSTICK_MOST + 1ull) + (SYSTICK_MOST - value);
}

static void on_systick(void)
{
    wraps++;
}

static void on_hard_fault(void)
{
    board_exit(101);
}

static void on_other_fault(void)
{
    board_exit(102);
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)(void *)&board_stack_top, reset, on_other_fault, on_hard_fault, on_other_fault, on_other_fault,
    on_other_fault, 0, 0, 0, 0, on_other_fault, on_other_fault, 0, on_other_fault, on_systick,
};
