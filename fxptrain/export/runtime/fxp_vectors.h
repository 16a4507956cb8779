/* Loops with the vectors of Cortex-M55 and M85 (MVE) over 8-bit numbers, where FXP_HELIUM. Assembler stands where compilers do
 * not find the loop that counts in lanes. The sums are exact, so the bits are those of plain C.
 *
 * Bounds: the generator proves from the formats that a sum fits fxp_forward_sum.
 */
#ifndef FXP_VECTORS_H
#define FXP_VECTORS_H

#include "fxp_dot.h"
#include "fxp_quick.h"

#if FXP_HELIUM

/* So many sums, of neighbouring channels, are made before they are rounded: of one position, or of two. */
#define FXP_RUN 32

typedef struct {
    int32_t of[2][FXP_RUN];
} fxp_run;

/* Copy bytes that do not overlap. */
static inline void fxp_copy_bytes(fxp_value *to, const fxp_value *from, int32_t count)
{
    __asm__ volatile("wlstp.8 lr, %[count], 1f\n"
                     "2:\n\t"
                     "vldrb.8 q0, [%[from]], #16\n\t"
                     "vstrb.8 q0, [%[to]], #16\n\t"
                     "letp lr, 2b\n"
                     "1:"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [count] "r"(count)
                     : "q0", "lr", "memory");
}

/* to[i] = from[at[i]]. */
static inline void fxp_take_bytes(fxp_value *to, const fxp_value *from, const uint8_t *at, int32_t count)
{
    __asm__ volatile("wlstp.8 lr, %[count], 1f\n"
                     "2:\n\t"
                     "vldrb.8 q0, [%[at]], #16\n\t"
                     "vldrb.u8 q1, [%[from], q0]\n\t"
                     "vstrb.8 q1, [%[to]], #16\n\t"
                     "letp lr, 2b\n"
                     "1:"
                     : [to] "+r"(to), [at] "+r"(at)
                     : [from] "r"(from), [count] "r"(count)
                     : "q0", "q1", "lr", "memory");
}

static inline void fxp_clear_bytes(fxp_value *to, int32_t count)
{
    __asm__ volatile("vmov.i32 q0, #0\n\t"
                     "wlstp.8 lr, %[count], 1f\n"
                     "2:\n\t"
                     "vstrb.8 q0, [%[to]], #16\n\t"
                     "letp lr, 2b\n"
                     "1:"
                     : [to] "+r"(to)
                     : [count] "r"(count)
                     : "q0", "lr", "memory");
}

/* Products of one input, or of two, with the weights of up to FXP_RUN channels, which lie `taps` apart. */
void fxp_dots_one(const fxp_value *x, const fxp_param *w, int32_t taps, int32_t channels, fxp_run *sums);
void fxp_dots_two(const fxp_value *x0, const fxp_value *x1, const fxp_param *w, int32_t taps, int32_t channels, fxp_run *sums);

/* Outputs of channels `c` and following at some positions, whose sums of products lie `apart` from one position to the next, by
 * whichever way. */
typedef struct {
    const int32_t *sums;
    int32_t apart, rows;
    int32_t c, channels;
    int32_t at; /* of the first one's y */
} fxp_ends;

void fxp_end_rows(const fxp_forward *pass, const fxp_quick *quick, const fxp_ends *ends);

static inline void fxp_end_run(const fxp_forward *pass, const fxp_quick *quick, const fxp_run *sums, int32_t rows, int32_t c,
                               int32_t channels, int32_t at)
{
    fxp_ends ends;
    ends.sums = sums->of[0];
    ends.apart = FXP_RUN;
    ends.rows = rows;
    ends.c = c;
    ends.channels = channels;
    ends.at = at;
    fxp_end_rows(pass, quick, &ends);
}

#endif

#endif
