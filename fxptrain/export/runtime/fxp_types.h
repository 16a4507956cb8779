/* What the runtime works on: stages, tensors, formats, error scales, the model. No code.
 *
 * Letters: h w input position, ci co channels, kh kw kernel, oh ow output position after pooling, pool_h pool_w the
 * max-pooling window fused into a convolution (1 x 1: none). Storage types and sizes come from the generated
 * fxp_config.h. What does not belong here: the public functions (fxp.h).
 */
#ifndef FXP_TYPES_H
#define FXP_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "fxp_config.h"
#include "fxp_interface.h"

/* 1: the products of 8- and 16-bit numbers use the DSP instructions of Cortex-M4, M7, M33 (fxp_forward_dot.h); the bits are the
 * same. The compiler tells whether the core has them; -DFXP_DSP=0 does without. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#ifndef FXP_DSP
#define FXP_DSP 1
#endif
#elif !defined(FXP_DSP)
#define FXP_DSP 0
#elif FXP_DSP
#error "FXP_DSP=1 needs a core with the DSP instructions of Arm's M-profile; leave it out."
#endif

/* 1: the products of 8-bit numbers use the vectors of Cortex-M55 and M85; -DFXP_MVE=0 does without. */
#if defined(__ARM_FEATURE_MVE)
#ifndef FXP_MVE
#define FXP_MVE 1
#endif
#elif !defined(FXP_MVE)
#define FXP_MVE 0
#elif FXP_MVE
#error "FXP_MVE=1 needs a core with Arm's M-profile vectors; leave it out."
#endif

/* 1: the products of 8- and 16-bit numbers use RISC-V's vectors (V 1.0, of any length: fxp_rvv.h); -DFXP_RVV=0 does without. */
#if defined(__riscv_vector) && (__riscv_v_elen >= 64)
#ifndef FXP_RVV
#define FXP_RVV 1
#endif
#elif !defined(FXP_RVV)
#define FXP_RVV 0
#elif FXP_RVV
#error "FXP_RVV=1 needs a core with RISC-V's vectors; leave it out."
#endif

/* A function that is compiled anew for the constants of each of its calls. */
#ifdef __GNUC__
#define FXP_INLINE static inline __attribute__((always_inline))
#else
#define FXP_INLINE static inline
#endif

/* Where constants are that are large: on AVR they stay in flash, and the pointers to them reach RAM as well. */
#ifdef __MEMX
#define FXP_ROM const __memx
#else
#define FXP_ROM const
#endif

#define FXP_NOWHERE UINT32_MAX /* in place of an offset: there is no such array */
#define FXP_MAX_RAW(bits) ((int32_t)(((int64_t)1 << ((bits) - 1)) - 1))
#define FXP_MIN_RAW(bits) ((int32_t)(-((int64_t)1 << ((bits) - 1))))

/* Weights and their momentum as they are exported: plain, or packed bit by bit (fxp_packed.h). */
#if FXP_PACKED
typedef uint8_t fxp_stored_param;
typedef uint8_t fxp_stored_momentum;
#else
typedef fxp_param fxp_stored_param;
typedef fxp_momentum fxp_stored_momentum;
#endif

/* What training compares outputs with: a class number, or FXP_OUTPUTS raw integers with fxp_logit_frac() fractional bits,
 * or of labels each 1 or 0. A model that learns its inputs takes NULL for those. */
#if FXP_VECTORS
typedef fxp_value fxp_goal_item;
typedef const fxp_value *fxp_goal;
#define FXP_GOAL_ITEMS FXP_OUTPUTS
#define FXP_BATCH_GOALS (FXP_BATCH * FXP_OUTPUTS)
#else
typedef uint16_t fxp_goal_item;
typedef uint16_t fxp_goal;
#define FXP_GOAL_ITEMS 1
#define FXP_BATCH_GOALS FXP_BATCH
#endif

/* A non-negative constant mantissa * 2^-shift, mantissa < 2^15. */
typedef struct {
    int32_t mantissa;
    int32_t shift;
} fxp_multiplier;

/* A stage: one layer with the activation and the max-pooling that fuse into it. A linear layer is a convolution of one
 * position. Weights lie (co, kh, kw, ci), of depthwise convolutions (c, kh, kw), so that a sum reads them in order; the
 * index of a draw stays that of the (kh, kw, ci, co) array. `_at` are byte offsets in the arena. */
typedef struct {
    int32_t kind;
    int32_t layer; /* number in the recipe: streams of draws are 16 * layer + kind of site */
    int32_t relu;  /* whether what is negative becomes zero */
#if FXP_FUNCTIONS
    int32_t function;     /* that it ends in, or none that is more than a ReLU */
    int32_t constants[2]; /* of the function, in its own meaning */
    int32_t added_frac;   /* fractional bits that the function adds to the sums, and to those of the error that comes back */
#endif
    int32_t rounds;              /* whether values are rounded into a format of the stage's own */
    int32_t inputs, first_input; /* how many tensors it reads, and the first one's place in fxp_stage_inputs */
    int32_t h, w, ci;            /* of the first one */
    int32_t oh, ow, co;
    int32_t kh, kw, sh, sw, pad_h, pad_w;
#if FXP_DILATED
    int32_t dil_h, dil_w; /* steps from one tap of the kernel to the next */
#endif
    int32_t pool_h, pool_w;
    int32_t taps;        /* weights of one output channel */
    fxp_multiplier mean; /* what sums without weights are multiplied by: of an average pool, 1 / (kh * kw); of a curve, its
                            steepest slope, and a number in its own meaning */
    int32_t w_form;      /* row of the weights' format; the momentum's, if they are trained, is the next; -1: no weights */
    int32_t coarser_bias; /* by how many bits the bias's grid is coarser */
    FXP_ROM fxp_stored_param *weights; /* as exported; training copies them into the arena */
    FXP_ROM fxp_param *bias;           /* NULL: none */
    uint32_t scratch_at;
#if FXP_PACKED
    uint32_t panel_at; /* where weights that are not trained are unpacked */
    int32_t panel;     /* how many output channels' at a time */
#endif
#if FXP_TRAINING
    FXP_ROM fxp_stored_momentum *weights_momentum_start;
    FXP_ROM fxp_momentum *bias_momentum_start;
    uint32_t winners_at, gradient_at;
    uint32_t weights_at, bias_at, weights_momentum_at, bias_momentum_at;
#if FXP_SOME
    FXP_ROM fxp_row *rows; /* NULL: all channels are trained, or none; else see fxp_some.h */
    int32_t learning;      /* how many of them are */
    int32_t apart;         /* whether the arena holds their weights alone */
#endif
#endif
} fxp_stage;

/* A tensor: number 0 is the model's input, number i + 1 what stage i writes. */
typedef struct {
    int32_t form;     /* row of its format */
    int32_t relu;     /* whether its values come out of a ReLU, where errors stop */
    int32_t elements; /* of one sample */
    uint32_t at, step; /* elements from one sample to the next; 0: all samples share the place */
#if FXP_TRAINING
    int32_t readers, first_reader; /* of a tensor whose error is made: how many read it, the first's place in fxp_readers */
    uint32_t error_stream;         /* of the draws that round its error */
    uint32_t error_at, sums_at;
    uint32_t joined_at; /* where the sums of several readers are added up */
#if FXP_MASKS
    uint32_t mask_at; /* bits that tell to which values errors pass, in the place of the values */
#endif
#endif
} fxp_tensor;

#if FXP_TRAINING

/* Input `slot` of a stage, as a reader of a tensor. What it hands back can be shifted `room` bits to the left where it is
 * added to what the other readers do. */
typedef struct {
    int32_t stage;
    int32_t slot;
    int32_t room;
} fxp_reader;

/* One thing that the backward pass does: make the error at a stage's output, or update the stage. */
typedef struct {
    int32_t stage;
    int32_t updates;
} fxp_action;

#endif

/* What does not change of a tensor's format, and where it starts. */
typedef struct {
    int32_t bits;
    int32_t frac;
#if FXP_TRAINING
    int32_t adaptive;
    int32_t min_frac;
    int32_t max_frac;
    int32_t largest;
    uint64_t saturated;
    uint64_t total;
#endif
} fxp_form_start;

/* Fractional bits of a tensor now, and what its roundings reported since the last adaptation. */
typedef struct {
    int32_t frac;
#if FXP_TRAINING
    int32_t largest;
    uint64_t saturated;
    uint64_t total;
#endif
} fxp_form;

/* Delayed scale of an error tensor: its fractional bits, and for how many steps finer ones would have fitted. */
typedef struct {
    int32_t frac;
    int32_t calm;
} fxp_scale;

/* What the samples of a batch that is being collected reported at one stage. */
typedef struct {
    uint32_t saturated;
    int32_t largest;
} fxp_seen;

/* A model in use. Its fields are the runtime's own; fxp.h has functions for what a caller wants to know. */
typedef struct {
    uint8_t *arena;
    uint32_t identity; /* FXP_IDENTITY after fxp_init */
    fxp_form forms[FXP_FORMS];
#if FXP_TRAINING
    fxp_scale scales[FXP_STAGES];
    uint32_t step;
    uint32_t calibrated;
    int32_t pending; /* samples of the batch so far */
#if FXP_REPLAY > 0
    int32_t first; /* stage from which on all of them ran */
#endif
    fxp_goal_item goals[FXP_BATCH_GOALS];
    fxp_seen seen[FXP_STAGES];
#endif
} fxp_model;

#if !FXP_PIXELS
/* How real numbers become raw integers: (x + offset) * mantissa * 2^-shift, where x and offset have `grid` fractional
 * bits. */
typedef struct {
    int64_t offset;
    int32_t mantissa;
    int32_t shift;
    int32_t grid;
} fxp_input_scale;
#endif

/* Generated in fxp_interface.c: of every channel, or of all alike. */
#if FXP_PIXELS
extern FXP_ROM fxp_value fxp_input_table[FXP_TABLE_VALUES]; /* raw input integer of each pixel value */
#else
extern const fxp_input_scale fxp_input_scales[FXP_INPUT_SCALES];
#endif

/* Generated in fxp_data.c. */
#if FXP_USE_SIGMOID || (FXP_TRAINING && FXP_LEARNS_LABELS)
extern FXP_ROM int32_t fxp_sigmoids[257]; /* of every sixteenth from 0 to 16, 30 fractional bits */
#endif
extern const fxp_stage fxp_stages[FXP_STAGES];
extern const int32_t fxp_stage_inputs[FXP_STAGE_INPUTS]; /* numbers of tensors */
extern const fxp_tensor fxp_tensors[FXP_STAGES + 1];
extern const fxp_form_start fxp_form_starts[FXP_FORMS];
#if FXP_TRAINING
extern const fxp_scale fxp_scale_starts[FXP_STAGES];
extern const fxp_reader fxp_readers[FXP_READERS]; /* the last one is none */
extern const fxp_action fxp_actions[FXP_ACTIONS];     /* in order */
#endif

#endif
