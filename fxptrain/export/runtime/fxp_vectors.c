#include "fxp_vectors.h"

#if FXP_HELIUM

/* The loops are handed one register, which is none of r0 to r7, and name the others, so that they fit at every level of
 * optimization; r7 may be the frame's. */

/* What the loops below read into registers. */
typedef struct {
    const fxp_value *x0, *x1;
    const fxp_param *w0, *w1;
    int32_t taps;
    int32_t *sums;
    int32_t channels;
} pair_job;

typedef struct {
    const fxp_value *x;
    const fxp_param *w0, *w1, *w2, *w3;
    int32_t taps;
    int32_t *sums;
    int32_t channels;
} four_job;

/* Two inputs and an even number of channels, two at a time: nine instructions for 64 products. The pointers run beyond the taps
 * to the next multiple of sixteen, and back. r1, r3: inputs; r5, r8: weights; r9: taps; r10: sums; r11: channels;
 * that multiple takes the place of the job. */
static void pairs(const pair_job *job)
{
    __asm__ volatile("ldm %[job], {r1, r3, r5, r8, r9, r10, r11}\n\t"
                     "add %[job], r9, #15\n\t"
                     "bic %[job], %[job], #15\n"
                     "1:\n\t"
                     "mov r0, #0\n\t"
                     "mov r2, #0\n\t"
                     "mov r4, #0\n\t"
                     "mov r6, #0\n\t"
                     "dlstp.8 lr, r9\n"
                     "2:\n\t"
                     "vldrb.8 q0, [r1], #16\n\t"
                     "vldrb.8 q1, [r5], #16\n\t"
                     "vmladava.s8 r0, q0, q1\n\t"
                     "vldrb.8 q2, [r3], #16\n\t"
                     "vmladava.s8 r4, q2, q1\n\t"
                     "vldrb.8 q3, [r8], #16\n\t"
                     "vmladava.s8 r2, q0, q3\n\t"
                     "vmladava.s8 r6, q2, q3\n\t"
                     "letp lr, 2b\n\t"
                     "strd r4, r6, [r10, %[apart]]\n\t"
                     "strd r0, r2, [r10], #8\n\t"
                     "sub r1, r1, %[job]\n\t"
                     "sub r3, r3, %[job]\n\t"
                     "rsb r0, %[job], r9, lsl #1\n\t"
                     "add r5, r5, r0\n\t"
                     "add r8, r8, r0\n\t"
                     "subs r11, r11, #2\n\t"
                     "bgt 1b"
                     : [job] "+h"(job)
                     : [apart] "i"(FXP_RUN * 4)
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0", "q1", "q2", "q3", "cc",
                       "memory");
}

/* The same of no more than sixteen taps: the inputs stay where they are. The compiler is not told of predicates, so the last
 * one comes back. */
static void short_pairs(const pair_job *job)
{
    __asm__ volatile("ldm %[job], {r1, r3, r5, r8, r9, r10, r11}\n\t"
                     "vmrs %[job], p0\n\t"
                     "vctp.8 r9\n\t"
                     "vpstt\n\t"
                     "vldrbt.8 q0, [r1]\n\t"
                     "vldrbt.8 q2, [r3]\n\t"
                     "lsl r9, r9, #1\n\t"
                     "lsr r11, r11, #1\n\t"
                     "dls lr, r11\n"
                     "1:\n\t"
                     "vpstt\n\t"
                     "vldrbt.8 q1, [r5]\n\t"
                     "vldrbt.8 q3, [r8]\n\t"
                     "vmladav.s8 r0, q0, q1\n\t"
                     "vmladav.s8 r4, q2, q1\n\t"
                     "vmladav.s8 r2, q0, q3\n\t"
                     "vmladav.s8 r6, q2, q3\n\t"
                     "add r5, r5, r9\n\t"
                     "add r8, r8, r9\n\t"
                     "strd r4, r6, [r10, %[apart]]\n\t"
                     "strd r0, r2, [r10], #8\n\t"
                     "le lr, 1b\n\t"
                     "vmsr p0, %[job]"
                     : [job] "+h"(job)
                     : [apart] "i"(FXP_RUN * 4)
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0", "q1", "q2", "q3", "cc",
                       "memory");
}

/* One input and a multiple of four channels, four at a time: ten instructions for 64 products. r1: input; r3, r5, r8, r9:
 * weights; r10: taps; r11: sums; channels take the place of the job. */
static void fours(const four_job *job)
{
    __asm__ volatile("ldm %[job], {r1, r3, r5, r8, r9, r10, r11}\n\t"
                     "ldr %[job], [%[job], %[left]]\n"
                     "1:\n\t"
                     "mov r0, #0\n\t"
                     "mov r2, #0\n\t"
                     "mov r4, #0\n\t"
                     "mov r6, #0\n\t"
                     "dlstp.8 lr, r10\n"
                     "2:\n\t"
                     "vldrb.8 q0, [r1], #16\n\t"
                     "vldrb.8 q1, [r3], #16\n\t"
                     "vmladava.s8 r0, q0, q1\n\t"
                     "vldrb.8 q2, [r5], #16\n\t"
                     "vmladava.s8 r2, q0, q2\n\t"
                     "vldrb.8 q3, [r8], #16\n\t"
                     "vmladava.s8 r4, q0, q3\n\t"
                     "vldrb.8 q1, [r9], #16\n\t"
                     "vmladava.s8 r6, q0, q1\n\t"
                     "letp lr, 2b\n\t"
                     "strd r0, r2, [r11], #8\n\t"
                     "strd r4, r6, [r11], #8\n\t"
                     "add r0, r10, #15\n\t"
                     "bic r0, r0, #15\n\t"
                     "sub r1, r1, r0\n\t"
                     "rsb r0, r0, r10, lsl #2\n\t"
                     "add r3, r3, r0\n\t"
                     "add r5, r5, r0\n\t"
                     "add r8, r8, r0\n\t"
                     "add r9, r9, r0\n\t"
                     "subs %[job], %[job], #4\n\t"
                     "bgt 1b"
                     : [job] "+h"(job)
                     : [left] "i"(offsetof(four_job, channels))
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0", "q1", "q2", "q3", "cc",
                       "memory");
}

/* The products of one pair of inputs with an even number of channels from `c` on, or with one twice. */
static void some_pairs(const fxp_value *x0, const fxp_value *x1, const fxp_param *w0, const fxp_param *w1, int32_t taps,
                       int32_t channels, int32_t *sums)
{
    pair_job job;
    job.x0 = x0;
    job.x1 = x1;
    job.w0 = w0;
    job.w1 = w1;
    job.taps = taps;
    job.sums = sums;
    job.channels = channels;
    if (taps <= 16) {
        short_pairs(&job);
    } else {
        pairs(&job);
    }
}

void fxp_dots_two(const fxp_value *x0, const fxp_value *x1, const fxp_param *w, int32_t taps, int32_t channels, fxp_run *sums)
{
    const int32_t even = channels - channels % 2;
    const fxp_param *last = w + even * taps;
    if (even > 0) {
        some_pairs(x0, x1, w, w + taps, taps, even, sums->of[0]);
    }
    if (even < channels) {
        some_pairs(x0, x1, last, last, taps, 2, &sums->of[0][even]);
    }
}

void fxp_dots_one(const fxp_value *x, const fxp_param *w, int32_t taps, int32_t channels, fxp_run *sums)
{
    const int32_t most = channels - channels % 4;
    int32_t c;
    if (most > 0) {
        four_job job;
        job.x = x;
        job.w0 = w;
        job.w1 = w + taps;
        job.w2 = w + 2 * taps;
        job.w3 = w + 3 * taps;
        job.taps = taps;
        job.sums = sums->of[0];
        job.channels = most;
        fours(&job);
    }
    for (c = most; c < channels; c += 2) {
        const fxp_param *at = w + c * taps;
        some_pairs(x, x, at, (c + 1 < channels) ? (at + taps) : at, taps, 2, &sums->of[0][c]);
    }
}

#endif
