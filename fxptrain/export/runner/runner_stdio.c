/* The verification program's files on a host. */
#include "runner_io.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *vectors, *results;

void io_open(void)
{
    vectors = fopen("vectors.bin", "rb");
    results = fopen("results.bin", "wb");
    if ((vectors == NULL) || (results == NULL)) {
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
    if (fclose(results) != 0) {
        exit(4);
    }
}
