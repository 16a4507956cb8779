/* The way back through a depthwise convolution without pooling with the vectors of Cortex-M55: input errors of eight channels
 * at a time, gradients of up to twelve taps at a time. */
#include <string.h>

#include "fxp_depthwise.h"
#include "fxp_vectors.h"

#if FXP_TRAINING && FXP_USE_DEPTHWISE && FXP_HELIUM && (FXP_ERROR_BITS <= 8)

#include <arm_mve.h>

#if FXP_BACK_DEPTHWISE && FXP_ERROR_DOTS

/* Eight channels at some neighbouring positions that see as many rows and columns: what the loop reads into registers. */
typedef struct {
    fxp_error_sum *sums;    /* of the first tap; r0 */
    const fxp_param *w;     /* (tap, channel); r1 */
    const fxp_error *error; /* r2 */
    int32_t count;          /* positions; r3 */
    int32_t step, down;     /* bytes from one column to the next, from behind the last to the next row's first; r4, r5 */
    int32_t next;           /* bytes from behind the last row to the next position; r6 */
    int32_t rows, columns;  /* r8, r9 */
    int32_t behind;         /* the weights of columns outside, of each row; r10 */
    int32_t co;             /* r11 */
} lane_run;

/* The sums of even and of odd channels take two loads and two stores. */
static void hand_back(const lane_run *run)
{
    __asm__ volatile("ldm %[run], {r0, r1, r2, r3, r4, r5, r6, r8, r9, r10, r11}\n\t"
                     "mov %[run], r1\n\t"
                     "vmov s20, r8\n"
                     "1:\n\t"
                     "vldrb.s16 q2, [r2]\n\t"
                     "add r2, r2, r11\n\t"
                     "mov r1, %[run]\n\t"
                     "vmov r8, s20\n"
                     "2:\n\t"
                     "dls lr, r9\n"
                     "3:\n\t"
                     "vldrb.s16 q3, [r1], #8\n\t"
                     "vld20.32 {q0, q1}, [r0]\n\t"
                     "vld21.32 {q0, q1}, [r0]\n\t"
                     "vmullb.s16 q4, q2, q3\n\t"
                     "vmullt.s16 q3, q2, q3\n\t"
                     "vadd.i32 q0, q0, q4\n\t"
                     "vadd.i32 q1, q1, q3\n\t"
                     "vst20.32 {q0, q1}, [r0]\n\t"
                     "vst21.32 {q0, q1}, [r0]\n\t"
                     "add r0, r0, r4\n\t"
                     "le lr, 3b\n\t"
                     "add r0, r0, r5\n\t"
                     "add r1, r1, r10\n\t"
                     "subs r8, r8, #1\n\t"
                     "bgt 2b\n\t"
                     "add r0, r0, r6\n\t"
                     "subs r3, r3, #1\n\t"
                     "bgt 1b"
                     : [run] "+h"(run)
                     :
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0", "q1", "q2", "q3", "q4", "q5",
                       "cc", "memory");
}

/* Eight channels of a row of positions. */
static void one_row(const fxp_backward *pass, lane_run *run, fxp_param (*w)[FXP_LANES], int32_t oh, int32_t inside,
                    fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    fxp_position here = fxp_input_position(s, oh, 0, 0);
    const fxp_range rows = fxp_rows_inside(s, here);
    const int32_t stride = s->sw * s->ci, step = FXP_APART_W(s, s->ci), row = FXP_APART_H(s, s->w * s->ci);
    fxp_range columns;
    int32_t ow = 0;
    run->rows = rows.last - rows.first;
    run->next = 4 * (stride - run->rows * row);
    while (ow < s->ow) {
        run->count = 1;
        columns = fxp_columns_inside(s, here);
        if ((here.w >= 0) && (ow < inside)) {
            run->count = inside - ow;
        }
        run->sums = sums + fxp_input_at(s, here, rows.first, columns.first);
        run->w = w[rows.first * s->kw + columns.first];
        run->columns = columns.last - columns.first;
        run->down = 4 * (row - run->columns * step);
        run->behind = (s->kw - run->columns) * FXP_LANES;
        if ((run->rows > 0) && (run->columns > 0)) {
            hand_back(run);
        }
        run->error += run->count * s->co;
        here.w += run->count * s->sw;
        ow += run->count;
    }
}

int32_t fxp_depthwise_error_lanes(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t inside = fxp_columns_whole(s);
    fxp_param w[FXP_LANE_TAPS][FXP_LANES];
    int32_t c, oh;
    lane_run run;
    if ((pass->winners != NULL) || (s->co % FXP_LANES != 0) || (s->taps > FXP_LANE_TAPS)) {
        return 0;
    }
    run.step = 4 * FXP_APART_W(s, s->ci);
    run.co = s->co;
    for (c = 0; c < s->co; c += FXP_LANES) {
        fxp_lane_weights(s, pass->weights, c, FXP_LANES, w);
        run.error = pass->error + c;
        for (oh = 0; oh < s->oh; oh++) {
            one_row(pass, &run, w, oh, inside, sums + c);
        }
    }
    return 1;
}

#endif

#if FXP_GRADIENT_DEPTHWISE && FXP_GRADIENT_LANES

#define FXP_SPREAD 12

/* A rectangle of positions that see the same taps, one way and the other: what the loop reads into registers. */
typedef struct {
    const fxp_value *x;        /* r0 */
    const fxp_error *error;    /* r1 */
    int32_t count, times;      /* positions; r2, r3 */
    int32_t x_step, error_step; /* to the next, r4, r5 */
    int32_t x_next, error_next; /* and from behind the last to the next time's first; r6, r8 */
    const uint32_t *at;        /* of taps, from x on; r9 */
    int32_t *sums;             /* of taps; r10 */
} rectangle;

static void meet(const rectangle *all)
{
    __asm__ volatile("ldm %[all], {r0, r1, r2, r3, r4, r5, r6, r8, r9, r10}\n\t"
                     "vldrw.32 q3, [r9]\n\t"
                     "vldrw.32 q4, [r9, #16]\n\t"
                     "vldrw.32 q5, [r9, #32]\n\t"
                     "vldrw.32 q0, [r10]\n\t"
                     "vldrw.32 q1, [r10, #16]\n\t"
                     "vldrw.32 q2, [r10, #32]\n"
                     "1:\n\t"
                     "dls lr, r2\n"
                     "2:\n\t"
                     "ldrsb r9, [r1]\n\t"
                     "add r1, r1, r5\n\t"
                     "cmp r9, #0\n\t"
                     "beq 3f\n\t"
                     "vldrb.s32 q6, [r0, q3]\n\t"
                     "vmla.s32 q0, q6, r9\n\t"
                     "vldrb.s32 q6, [r0, q4]\n\t"
                     "vmla.s32 q1, q6, r9\n\t"
                     "vldrb.s32 q6, [r0, q5]\n\t"
                     "vmla.s32 q2, q6, r9\n"
                     "3:\n\t"
                     "add r0, r0, r4\n\t"
                     "le lr, 2b\n\t"
                     "add r0, r0, r6\n\t"
                     "add r1, r1, r8\n\t"
                     "subs r3, r3, #1\n\t"
                     "bgt 1b\n\t"
                     "vstrw.32 q0, [r10]\n\t"
                     "vstrw.32 q1, [r10, #16]\n\t"
                     "vstrw.32 q2, [r10, #32]"
                     :
                     : [all] "h"(all)
                     : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6",
                       "cc", "memory");
}

/* Some taps that all positions of a rectangle see. */
typedef struct {
    uint32_t at[FXP_SPREAD];
    int32_t sums[FXP_SPREAD];
    int32_t tap[FXP_SPREAD]; /* of the kernel */
    int32_t count;
} some_taps;

static void meet_some(rectangle *all, some_taps *some, fxp_gradient_sum *sums)
{
    int32_t k;
    memset(some->sums, 0, sizeof some->sums);
    all->at = some->at;
    all->sums = some->sums;
    meet(all);
    for (k = 0; k < some->count; k++) {
        sums[some->tap[k]] += some->sums[k];
    }
    some->count = 0;
}

/* The taps of some rows and columns, some at a time; those that are left over are the first one. */
static void meet_taps(const fxp_stage *s, rectangle *all, fxp_range rows, fxp_range columns, some_taps *some,
                      fxp_gradient_sum *sums)
{
    const int32_t down = FXP_APART_H(s, s->w * s->ci), step = FXP_APART_W(s, s->ci);
    int32_t kh, kw, row = 0;
    for (kh = rows.first; kh < rows.last; kh++) {
        int32_t at = row;
        for (kw = columns.first; kw < columns.last; kw++) {
            some->tap[some->count] = kh * s->kw + kw;
            some->at[some->count] = (uint32_t)at;
            some->count++;
            if (some->count == FXP_SPREAD) {
                meet_some(all, some, sums);
                memset(some->at, 0, sizeof some->at);
            }
            at += step;
        }
        row += down;
    }
    if (some->count > 0) {
        meet_some(all, some, sums);
    }
}

/* How many positions from number `at` on, whose first tap is at `position`, see as many taps: those that see all, or one. */
static inline int32_t alike(int32_t at, int32_t position, int32_t whole)
{
    return ((position >= 0) && (at < whole)) ? (whole - at) : 1;
}

int32_t fxp_depthwise_gradient_lanes(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t across = s->sw * s->ci, along = s->sh * s->w * s->ci, row = s->ow * s->co;
    const int32_t whole_h = fxp_rows_whole(s), whole_w = fxp_columns_whole(s);
    int32_t oh, ow, high, wide;
    some_taps some;
    if (pass->winners != NULL) {
        return 0;
    }
    memset(&some, 0, sizeof some);
    for (oh = 0; oh < s->oh; oh += high) {
        fxp_position here = fxp_input_position(s, oh, 0, 0);
        const fxp_range rows = fxp_rows_inside(s, here);
        high = alike(oh, here.h, whole_h);
        for (ow = 0; ow < s->ow; ow += wide) {
            const fxp_range columns = fxp_columns_inside(s, here);
            rectangle all;
            wide = alike(ow, here.w, whole_w);
            all.x = pass->x + c + fxp_input_at(s, here, rows.first, columns.first);
            all.error = pass->error + (oh * s->ow + ow) * s->co + c;
            all.count = (high > wide) ? high : wide;
            all.times = (high > wide) ? wide : high;
            all.x_step = (high > wide) ? along : across;
            all.error_step = (high > wide) ? row : s->co;
            all.x_next = ((high > wide) ? across : along) - all.count * all.x_step;
            all.error_next = ((high > wide) ? s->co : row) - all.count * all.error_step;
            meet_taps(s, &all, rows, columns, &some, sums);
            here.w += wide * s->sw;
        }
    }
    return 1;
}

#endif

#endif
