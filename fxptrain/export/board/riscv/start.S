/* Start of a bare RISC-V under QEMU, and the call of the debugger. */
    .section .vectors, "ax"
    .globl reset
reset:
    .option arch, +zicsr
    la sp, board_stack_top
    la t0, fault
    csrw mtvec, t0
    li t0, 0x200 /* vectors, where there are any */
    csrs mstatus, t0
    j board_start

    .balign 4
fault:
    li a0, 101
    j board_exit

/* int32_t board_call(uint32_t operation, const void *argument): "RISC-V Semihosting", the three instructions must not be
 * compressed and must lie in one page. */
    .section .text.board_call, "ax"
    .option push
    .option norvc
    .option norelax
    .balign 16
    .globl board_call
board_call:
    slli x0, x0, 0x1f
    ebreak
    srai x0, x0, 7
    ret
    .option pop
