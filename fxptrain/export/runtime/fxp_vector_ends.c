/* The ends of many outputs at once. */
#include <string.h>

#include "fxp_vectors.h"

#if FXP_HELIUM

#include <arm_mve.h>

typedef struct {
    const int32_t *sums;
    const fxp_param *bias;
    fxp_value *y;
    int32_t rows, channels, unit;
    int32_t back; /* so far do the pointers run in a row, */
    int32_t apart, next; /* and from there to the next one */
    int32_t shift, low, high;
} quick_job;

/* Outputs that nobody counts, rounded half to even: the bit above the rounded ones, less one, makes halves even. */
static void end_quick(const quick_job *job)
{
    __asm__ volatile("ldrd r0, r1, [%[job], %[low]]\n\t"
                     "ldr r2, [%[job], %[shift]]\n\t"
                     "vdup.32 q2, r0\n\t"
                     "vdup.32 q3, r1\n\t"
                     "vdup.32 q4, r2\n\t"
                     "vmov.i32 q5, #1\n\t"
                     "ldm %[job], {r0, r1, r2, r3, r4, r5, r6, r8, r9}\n"
                     "1:\n\t"
                     "dlstp.32 lr, r4\n"
                     "2:\n\t"
                     "vldrw.32 q0, [r0], #16\n\t"
                     "vldrb.s32 q1, [r1], #4\n\t"
                     "vmla.s32 q0, q1, r5\n\t"
                     "vshl.s32 q1, q0, q4\n\t"
                     "vand q1, q1, q5\n\t"
                     "vsub.i32 q1, q1, q5\n\t"
                     "vadd.i32 q0, q0, q1\n\t"
                     "vrshl.s32 q0, q0, q4\n\t"
                     "vmax.s32 q0, q0, q2\n\t"
                     "vmin.s32 q0, q0, q3\n\t"
                     "vstrb.32 q0, [r2], #4\n\t"
                     "letp lr, 2b\n\t"
                     "sub r1, r1, r6\n\t"
                     "add r0, r0, r8\n\t"
                     "add r2, r2, r9\n\t"
                     "subs r3, r3, #1\n\t"
                     "bgt 1b"
                     :
                     : [job] "h"(job), [low] "i"(offsetof(quick_job, low)), [shift] "i"(offsetof(quick_job, shift))
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "cc",
                       "memory");
}

static void end_uncounted(const fxp_quick *quick, const fxp_ends *ends, const fxp_param *bias, fxp_value *y, int32_t co)
{
    quick_job job;
    job.sums = ends->sums;
    job.bias = bias;
    job.y = y;
    job.rows = ends->rows;
    job.channels = ends->channels;
    job.unit = quick->unit;
    job.back = (ends->channels + 3) / 4 * 4;
    job.apart = 4 * (ends->apart - job.back);
    job.next = co - job.back;
    job.shift = -quick->shift;
    job.low = quick->low;
    job.high = FXP_QUICK_HIGH(*quick);
    end_quick(&job);
}

#if FXP_TRAINING

/* Outputs that are counted, rounded half to even or by their draws. */
static void end_counted(const fxp_forward *pass, const fxp_quick *quick, const int32_t *sums, const fxp_param *bias,
                        int32_t count, int32_t at)
{
    fxp_site *site = pass->site;
    const int32x4_t low = vdupq_n_s32(pass->stage->relu ? 0 : INT32_MIN), shift = vdupq_n_s32(-quick->shift);
    uint32_t room[FXP_DRAWS_ROOM(FXP_RUN)];
    const uint32_t *draws = site->stochastic ? fxp_draws_of(&site->draws, pass->first + (uint32_t)at, count, room) : NULL;
    uint32x4_t largest = vdupq_n_u32((uint32_t)site->largest), saturated = vdupq_n_u32(0);
    int32_t i;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        int32x4_t value = vldrwq_z_s32(sums + i, lanes), kept;
        value = vmlaq_n_s32(value, vldrbq_z_s32(bias + i, lanes), quick->unit);
        if (draws != NULL) {
            const uint32x4_t draw = vshlq_u32(vldrwq_z_u32(draws + i, lanes), vdupq_n_s32(quick->shift - 32));
            value = vshlq_s32(vaddq_s32(value, vreinterpretq_s32_u32(draw)), shift);
        } else {
            kept = vandq_s32(vshlq_s32(value, shift), vdupq_n_s32(1));
            value = vrshlq_s32(vaddq_s32(value, vsubq_n_s32(kept, 1)), shift);
        }
        value = vmaxq_s32(value, low); /* which counts as no saturation */
        kept = vminq_s32(vmaxq_s32(value, vdupq_n_s32(FXP_MIN_RAW(FXP_VALUE_BITS))), vdupq_n_s32(FXP_MAX_RAW(FXP_VALUE_BITS)));
        saturated = vaddq_u32(saturated, vminq_u32(vreinterpretq_u32_s32(vabdq_s32(value, kept)), vdupq_n_u32(1)));
        largest = vmaxaq_s32(largest, kept);
        vstrbq_p_s32(pass->y + at + i, kept, lanes);
    }
    site->saturated += vaddvq_u32(saturated);
    site->largest = (int32_t)vmaxvq_u32(0, largest);
}

#endif

void fxp_end_rows(const fxp_forward *pass, const fxp_quick *quick, const fxp_ends *ends)
{
    static const fxp_param no_bias[FXP_RUN] = {0};
    const fxp_param *bias = (quick->bias == NULL) ? no_bias : (quick->bias + ends->c);
    const int32_t co = pass->stage->co;
    const int32_t *sums = ends->sums;
    int32_t row, i, at = ends->at;
    if (quick->possible) {
        end_uncounted(quick, ends, bias, pass->y + at, co);
        return;
    }
    for (row = 0; row < ends->rows; row++) {
#if FXP_TRAINING
        if (quick->counted) {
            end_counted(pass, quick, sums, bias, ends->channels, at);
        } else
#endif
        {
            for (i = 0; i < ends->channels; i++) {
                fxp_finish(pass, sums[i], ends->c + i, at + i);
            }
        }
        sums += ends->apart;
        at += co;
    }
}

#endif
