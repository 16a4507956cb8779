/* Depthwise convolution without pooling forward with the vectors of Cortex-M55: eight channels at a time, one after the other at
 * all positions, so that their weights are put in order once. */
#include <string.h>

#include "fxp_depthwise.h"
#include "fxp_vectors.h"

#if FXP_USE_DEPTHWISE && FXP_HELIUM

#include <arm_mve.h>

#define FXP_ABREAST 8 /* positions whose sums are made before they are rounded */

/* Eight channels of a stage, or those that are left, at some neighbouring positions that see as many rows and columns of the
 * kernel: what the loops below read into registers. */
typedef struct {
    const fxp_value *x; /* the first tap's; r0 */
    const fxp_param *w; /* r1 */
    int32_t *sums;      /* (position, channel); r2 */
    int32_t count;      /* positions; r3 */
    int32_t step, down; /* from one column to the next, and from behind the last of a row to the next row's first; r4, r5 */
    int32_t next;       /* from behind the last row to the next position; r6 */
    int32_t rows, columns; /* r8, r9 */
    int32_t behind;     /* the weights of columns outside, of each row; r10 */
    int32_t channels;   /* r11 */
} lane_run;

/* One tap of eight channels: x, w, and the sums of even and odd channels. */
#define FXP_TAP(predicate, then, on)                                           \
    predicate "vldrb" then ".s16 q2, [r0]\n\t"                                 \
    "add r0, r0, " on "\n\t"                                                   \
    "vldrb.s16 q3, [r1], #8\n\t"                                               \
    "vmullb.s16 q4, q2, q3\n\t"                                                \
    "vmullt.s16 q2, q2, q3\n\t"                                                \
    "vadd.i32 q0, q0, q4\n\t"                                                  \
    "vadd.i32 q1, q1, q2\n\t"

/* The first tap of a sum, which is what it begins with. */
#define FXP_FIRST_TAP                                                          \
    "vldrb.s16 q2, [r0]\n\t"                                                   \
    "add r0, r0, r4\n\t"                                                       \
    "vldrb.s16 q3, [r1], #8\n\t"                                               \
    "vmullb.s16 q0, q2, q3\n\t"                                                \
    "vmullt.s16 q1, q2, q3\n\t"

/* A kernel that is three wide and inside, eight channels, of so many rows. */
#define FXP_THREE_WIDE(rows)                                                   \
    __asm__ volatile("ldm %[run], {r0, r1, r2, r3, r4, r5, r6}\n\t"            \
                     "mov r9, r1\n\t"                                          \
                     "sub r5, r5, r4, lsl #1\n\t"                              \
                     "dls lr, r3\n"                                            \
                     "1:\n\t"                                                  \
                     "mov r1, r9\n\t"                                          \
                     rows                                                      \
                     "add r0, r0, r6\n\t"                                      \
                     "vst20.32 {q0, q1}, [r2]\n\t"                             \
                     "vst21.32 {q0, q1}, [r2]!\n\t"                            \
                     "le lr, 1b"                                               \
                     :                                                         \
                     : [run] "h"(run)                                          \
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r9", "lr", "q0", "q1", "q2", "q3", "q4", "cc", "memory")

#define FXP_FIRST_ROW FXP_FIRST_TAP FXP_TAP("", "", "r4") FXP_TAP("", "", "r5")
#define FXP_NEXT_ROW FXP_TAP("", "", "r4") FXP_TAP("", "", "r4") FXP_TAP("", "", "r5")

static void three_wide(const lane_run *run)
{
    if (run->rows == 3) {
        FXP_THREE_WIDE(FXP_FIRST_ROW FXP_NEXT_ROW FXP_NEXT_ROW);
    } else if (run->rows == 2) {
        FXP_THREE_WIDE(FXP_FIRST_ROW FXP_NEXT_ROW);
    } else {
        FXP_THREE_WIDE(FXP_FIRST_ROW);
    }
}

/* Any kernel and number of channels. */
static void any_wide(const lane_run *run)
{
    __asm__ volatile("ldm %[run], {r0, r1, r2, r3, r4, r5, r6, r8, r9, r10, r11}\n\t"
                     "mls r5, r4, r9, r5\n\t"
                     "vctp.16 r11\n\t"
                     "mov %[run], r1\n"
                     "1:\n\t"
                     "vmov.i32 q0, #0\n\t"
                     "vmov.i32 q1, #0\n\t"
                     "mov r1, %[run]\n\t"
                     "mov r11, r8\n"
                     "2:\n\t"
                     "dls lr, r9\n"
                     "3:\n\t"
                     FXP_TAP("vpst\n\t", "t", "r4")
                     "le lr, 3b\n\t"
                     "add r0, r0, r5\n\t"
                     "add r1, r1, r10\n\t"
                     "subs r11, r11, #1\n\t"
                     "bgt 2b\n\t"
                     "add r0, r0, r6\n\t"
                     "vst20.32 {q0, q1}, [r2]\n\t"
                     "vst21.32 {q0, q1}, [r2]!\n\t"
                     "subs r3, r3, #1\n\t"
                     "bgt 1b"
                     : [run] "+h"(run)
                     :
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0", "q1", "q2", "q3", "q4", "cc",
                       "memory");
}

/* Eight channels of a stage, or those that are left. */
typedef struct {
    const fxp_forward *pass;
    const fxp_quick *quick;
    int32_t stride; /* from one position to the next */
    fxp_ends ends;  /* of the positions whose sums are made */
    int32_t sums[FXP_ABREAST * FXP_LANES];
    fxp_param w[FXP_LANE_TAPS][FXP_LANES]; /* of each tap */
} lane_job;

void fxp_lane_weights(const fxp_stage *s, const fxp_param *weights, int32_t c, int32_t channels, fxp_param (*w)[FXP_LANES])
{
    const mve_pred16_t lanes = vctp16q((uint32_t)channels);
    const uint16x8_t apart = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)s->taps);
    int32_t k;
    for (k = 0; k < s->taps; k++) {
        vstrbq_s16(w[k], vldrbq_gather_offset_z_s16(weights + c * s->taps + k, apart, lanes));
    }
}

/* Round what there is; the positions after it are the next. */
static void flush(lane_job *job)
{
    if (job->ends.rows > 0) {
        fxp_end_rows(job->pass, job->quick, &job->ends);
        job->ends.at += job->ends.rows * job->pass->stage->co;
        job->ends.rows = 0;
    }
}

/* Sums of so many neighbouring positions of a row. */
static void some_positions(lane_job *job, lane_run *run, int32_t count)
{
    int32_t left = count;
    while (left > 0) {
        const int32_t room = FXP_ABREAST - job->ends.rows, some = (left < room) ? left : room;
        run->sums = job->sums + job->ends.rows * FXP_LANES;
        run->count = some;
        if ((run->rows <= 0) || (run->columns <= 0)) { /* all taps are in the padding */
            memset(run->sums, 0, (size_t)(some * FXP_LANES) * sizeof job->sums[0]);
        } else if ((run->columns == 3) && (run->rows <= 3) && (run->behind == 0) && (run->channels == FXP_LANES)) {
            three_wide(run);
        } else {
            any_wide(run);
        }
        job->ends.rows += some;
        if (job->ends.rows == FXP_ABREAST) {
            flush(job);
        }
        run->x += some * job->stride;
        left -= some;
    }
}

/* A row of positions: in the middle those whose taps are all inside, together; the others, or all of a kernel wider than the
 * input, alone. */
static void one_row(lane_job *job, lane_run *run, fxp_position here, int32_t inside)
{
    const fxp_stage *s = job->pass->stage;
    const fxp_range rows = fxp_rows_inside(s, here);
    const fxp_value *x = job->pass->x + job->ends.c;
    fxp_range columns;
    int32_t ow = 0, count;
    run->rows = rows.last - rows.first;
    run->next = job->stride - run->rows * run->down;
    while (ow < s->ow) {
        if ((here.w >= 0) && (ow < inside)) {
            columns.first = 0;
            columns.last = s->kw;
            count = inside - ow;
        } else {
            columns = fxp_columns_inside(s, here);
            count = 1;
        }
        run->x = x + fxp_input_at(s, here, rows.first, columns.first);
        run->w = job->w[rows.first * s->kw + columns.first];
        run->columns = columns.last - columns.first;
        run->behind = (s->kw - run->columns) * FXP_LANES;
        some_positions(job, run, count);
        here.w += count * s->sw;
        ow += count;
    }
}

void fxp_depthwise_lanes(const fxp_forward *pass, const fxp_quick *quick, const fxp_param *weights)
{
    const fxp_stage *s = pass->stage;
    const int32_t inside = fxp_columns_whole(s);
    int32_t c, oh;
    lane_job job;
    lane_run run;
    job.pass = pass;
    job.quick = quick;
    job.ends.sums = job.sums;
    job.ends.apart = FXP_LANES;
    job.stride = s->sw * s->ci;
    run.step = FXP_APART_W(s, s->ci);
    run.down = FXP_APART_H(s, s->w * s->ci);
    for (c = 0; c < s->co; c += FXP_LANES) {
        run.channels = (s->co - c < FXP_LANES) ? (s->co - c) : FXP_LANES;
        job.ends.c = c;
        job.ends.channels = run.channels;
        job.ends.rows = 0;
        job.ends.at = c;
        fxp_lane_weights(s, weights, c, run.channels, job.w);
        for (oh = 0; oh < s->oh; oh++) {
            one_row(&job, &run, fxp_input_position(s, oh, 0, 0), inside);
        }
        flush(&job);
    }
}

#endif
