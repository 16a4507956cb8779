/* The verification program's files on a host. */
#include "runner_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *vectors, *results, *flash;

void io_open(void)
{
    vectors = fopen("vectors.bin", "rb");
    results = fopen("results.bin", "wb");
    flash = fopen("flash.bin", "w+b");
    if ((vectors == NULL) || (results == NULL) || (flash == NULL)) {
        exit(2);
    }
}

void io_read(void *to, uint32_t bytes)
{
    if (fread(to, 1, bytes, vectors) != bytes) {
        exit(3);
    }
}

void io_write(const void *from, uint32_t bytes)
{
    if (fwrite(from, 1, bytes, results) != bytes) {
        exit(4);
    }
}

uint64_t io_ticks(void)
{
    return 0;
}

void io_close(void)
{
    (void)fclose(vectors);
    (void)fclose(flash);
    if (fclose(results) != 0) {
        exit(4);
    }
}

void io_flash_read(uint32_t at, uint8_t *bytes, uint32_t count)
{
    size_t got = 0;
    if (fseek(flash, (long)at, SEEK_SET) == 0) {
        got = fread(bytes, 1, count, flash);
    }
    memset(bytes + got, 0, count - got);
}

void io_flash_write(uint32_t at, const uint8_t *bytes, uint32_t count)
{
    if ((fseek(flash, (long)at, SEEK_SET) != 0) || (fwrite(bytes, 1, count, flash) != count)) {
        exit(4);
    }
}
