/* Files and exit through semihosting, and the verification program's input and output on top of them. */
#include "board.h"

#include "runner_io.h"

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_SEEK = 0x0A, SYS_EXIT_EXTENDED = 0x20 };
enum { READ_BINARY = 1, WRITE_BINARY = 5, CHANGE_BINARY = 7 };

static int32_t vectors, results, flash;

#ifdef __arm__
int32_t board_call(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}
#endif

void board_exit(uint32_t code)
{
    const uint32_t block[2] = {0x20026u, code};
    for (;;) {
        (void)board_call(SYS_EXIT_EXTENDED, block);
    }
}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, length};
    const int32_t handle = board_call(SYS_OPEN, block);
    if (handle < 0) {
        board_exit(2);
    }
    return handle;
}

/* Both calls return how many bytes were left undone. */
static void transfer(uint32_t operation, int32_t handle, const void *at, uint32_t bytes, uint32_t failure)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)at, bytes};
    if ((bytes > 0u) && (board_call(operation, block) != 0)) {
        board_exit(failure);
    }
}

void io_open(void)
{
    vectors = open_file("vectors.bin", 11, READ_BINARY);
    results = open_file("results.bin", 11, WRITE_BINARY);
    flash = open_file("flash.bin", 9, CHANGE_BINARY);
    board_start_ticks();
}

void io_read(void *to, uint32_t bytes)
{
    transfer(SYS_READ, vectors, to, bytes, 3);
}

void io_write(const void *from, uint32_t bytes)
{
    transfer(SYS_WRITE, results, from, bytes, 4);
}

static void seek_flash(uint32_t at)
{
    const uint32_t block[2] = {(uint32_t)flash, at};
    if (board_call(SYS_SEEK, block) != 0) {
        board_exit(4);
    }
}

void io_flash_read(uint32_t at, uint8_t *bytes, uint32_t count)
{
    const uint32_t block[3] = {(uint32_t)flash, (uint32_t)(uintptr_t)bytes, count};
    uint32_t i;
    for (i = 0; i < count; i++) {
        bytes[i] = 0;
    }
    seek_flash(at);
    (void)board_call(SYS_READ, block);
}

void io_flash_write(uint32_t at, const uint8_t *bytes, uint32_t count)
{
    seek_flash(at);
    transfer(SYS_WRITE, flash, bytes, count, 4);
}

uint64_t io_ticks(void)
{
    return board_ticks();
}

/* The greatest depth of the stack goes to a file of its own: it is no result of the model. */
void io_close(void)
{
    const uint32_t depth = board_stack_bytes();
    const int32_t file = open_file("stack.bin", 9, WRITE_BINARY);
    const uint32_t both[2] = {(uint32_t)results, (uint32_t)file};
    transfer(SYS_WRITE, file, &depth, sizeof depth, 4);
    (void)board_call(SYS_CLOSE, &both[0]);
    (void)board_call(SYS_CLOSE, &both[1]);
}
