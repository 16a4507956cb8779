/* The loops that multiply on the way back, with the vectors of Cortex-M55: four sums at a time, wherever 32 bits hold them. */
#include "fxp_dot.h"

#if FXP_TRAINING && (FXP_BACK_LANES || FXP_GRADIENT_LANES)

/* sums[i] += factor * a[i]. */
#define FXP_ADD_ONE(name, type, load, step)                                    \
    static inline void name(int32_t *sums, const type *a, int32_t factor, int32_t count) \
    {                                                                          \
        __asm__ volatile("wlstp.32 lr, %[count], 1f\n"                         \
                         "2:\n\t"                                              \
                         "vldrw.32 q0, [%[sums]]\n\t"                          \
                         load " q1, [%[a]], " step "\n\t"                      \
                         "vmla.s32 q0, q1, %[factor]\n\t"                      \
                         "vstrw.32 q0, [%[sums]], #16\n\t"                     \
                         "letp lr, 2b\n"                                       \
                         "1:"                                                  \
                         : [sums] "+r"(sums), [a] "+l"(a)                      \
                         : [factor] "r"(factor), [count] "r"(count)            \
                         : "q0", "q1", "lr", "memory");                        \
    }

/* Four numbers and what each is multiplied by, for the same sums: what the loop reads into registers. */
typedef struct {
    int32_t *sums;   /* r0 */
    const void *a[4]; /* r1 to r4 */
    int32_t factor[4]; /* r5, r6, r8, r9 */
    int32_t count;   /* r10 */
} four_back_job;

/* sums[i] += the sum of factor[k] * a[k][i]. */
#define FXP_ADD_FOUR(name, load, step)                                         \
    static inline void name(const four_back_job *job)                          \
    {                                                                          \
        __asm__ volatile("ldm %[job], {r0, r1, r2, r3, r4, r5, r6, r8, r9, r10}\n\t" \
                         "wlstp.32 lr, r10, 1f\n"                              \
                         "2:\n\t"                                              \
                         "vldrw.32 q0, [r0]\n\t"                               \
                         load " q1, [r1], " step "\n\t"                        \
                         "vmla.s32 q0, q1, r5\n\t"                             \
                         load " q2, [r2], " step "\n\t"                        \
                         "vmla.s32 q0, q2, r6\n\t"                             \
                         load " q3, [r3], " step "\n\t"                        \
                         "vmla.s32 q0, q3, r8\n\t"                             \
                         load " q1, [r4], " step "\n\t"                        \
                         "vmla.s32 q0, q1, r9\n\t"                             \
                         "vstrw.32 q0, [r0], #16\n\t"                          \
                         "letp lr, 2b\n"                                       \
                         "1:"                                                  \
                         :                                                     \
                         : [job] "h"(job)                                      \
                         : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "lr", "q0", "q1", "q2", "q3", "memory"); \
    }

#if FXP_BACK_LANES

#if FXP_PARAM_BITS <= 8
#define FXP_LOAD_PARAM "vldrb.s32"
#define FXP_STEP_PARAM "#4"
#elif FXP_PARAM_BITS <= 16
#define FXP_LOAD_PARAM "vldrh.s32"
#define FXP_STEP_PARAM "#8"
#else
#define FXP_LOAD_PARAM "vldrw.32"
#define FXP_STEP_PARAM "#16"
#endif

FXP_ADD_ONE(add_param, fxp_param, FXP_LOAD_PARAM, FXP_STEP_PARAM)
FXP_ADD_FOUR(add_params, FXP_LOAD_PARAM, FXP_STEP_PARAM)

void fxp_add_weights(fxp_error_sum *sums, FXP_ROM fxp_param *w, fxp_error error, int32_t count)
{
    add_param(sums, w, error, count);
}

void fxp_add_channels(fxp_error_sum *sums, const fxp_channels *from, int32_t at, int32_t count)
{
    four_back_job job;
    int32_t i;
    if (from->count == 1) {
        add_param(sums, from->w[0] + at, from->of[0], count);
        return;
    }
    for (i = 0; i < FXP_TOGETHER; i++) { /* the first one again, times nothing, in place of those that are not there */
        job.a[i] = ((i < from->count) ? from->w[i] : from->w[0]) + at;
        job.factor[i] = (i < from->count) ? from->of[i] : 0;
    }
    job.sums = sums;
    job.count = count;
    add_params(&job);
}

#endif

#if FXP_GRADIENT_LANES

#if FXP_VALUE_BITS <= 8
#define FXP_LOAD_VALUE "vldrb.s32"
#define FXP_STEP_VALUE "#4"
#elif FXP_VALUE_BITS <= 16
#define FXP_LOAD_VALUE "vldrh.s32"
#define FXP_STEP_VALUE "#8"
#else
#define FXP_LOAD_VALUE "vldrw.32"
#define FXP_STEP_VALUE "#16"
#endif

FXP_ADD_ONE(add_value, fxp_value, FXP_LOAD_VALUE, FXP_STEP_VALUE)
FXP_ADD_FOUR(add_values, FXP_LOAD_VALUE, FXP_STEP_VALUE)

void fxp_add_inputs(fxp_gradient_sum *sums, const fxp_value *x, fxp_error error, int32_t count)
{
    add_value(sums, x, error, count);
}

void fxp_add_positions(fxp_gradient_sum *sums, const fxp_positions *from, int32_t at, int32_t count)
{
    four_back_job job;
    int32_t i;
    if (from->count == 1) {
        add_value(sums, from->x[0] + at, from->of[0], count);
        return;
    }
    for (i = 0; i < FXP_TOGETHER; i++) {
        job.a[i] = ((i < from->count) ? from->x[i] : from->x[0]) + at;
        job.factor[i] = (i < from->count) ? from->of[i] : 0;
    }
    job.sums = sums;
    job.count = count;
    add_values(&job);
}

#endif

#endif
