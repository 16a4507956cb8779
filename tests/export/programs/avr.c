/* On an AVR: class and logits of one made-up sample to the serial port as decimal numbers; where the export trains, the
 * state's checksum after STEPS steps on further ones, too; then the end. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#include "fxp.h"

static fxp_model model;
static uint64_t arena[FXP_ARENA_WORDS];
static fxp_input inputs[FXP_INPUTS];

static void put(char letter)
{
    while ((UCSR0A & (1 << UDRE0)) == 0) {
    }
    UDR0 = (uint8_t)letter;
}

static void put_number(int32_t value)
{
    char digits[12];
    uint32_t size = (value < 0) ? (0u - (uint32_t)value) : (uint32_t)value;
    int8_t count = 0;
    if (value < 0) {
        put('-');
    }
    do {
        digits[count] = (char)('0' + (int)(size % 10u));
        size /= 10u;
        count++;
    } while (size > 0u);
    while (count > 0) {
        count--;
        put(digits[count]);
    }
    put(' ');
}

static void make_up(void)
{
    static uint32_t seed = 5;
    int16_t i;
    for (i = 0; i < FXP_INPUTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        inputs[i] = (fxp_input)(seed >> 24);
    }
}

#if FXP_TRAINING

static uint32_t checksum; /* the last four bytes that were written */

static fxp_status keep_last(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    (void)context;
    (void)at;
    for (i = 0; i < count; i++) {
        checksum = (checksum >> 8) | ((uint32_t)bytes[i] << 24);
    }
    return FXP_OK;
}

static void learn(void)
{
    static const fxp_storage end = {NULL, NULL, keep_last, NULL, 0};
    int16_t step, n;
    for (step = 0; step < STEPS; step++) {
        for (n = 0; n < FXP_BATCH; n++) {
            make_up();
            (void)fxp_train_add(&model, inputs, (uint16_t)(n % FXP_OUTPUTS));
        }
        put_number(fxp_train_finish(&model, fxp_rate_default()).correct);
    }
    if (fxp_state_write(&model, &end) != FXP_OK) {
        put('!');
    }
    put_number((int32_t)checksum);
}

#endif

int main(void)
{
    int32_t logits[FXP_OUTPUTS];
    int16_t i;
    UCSR0B = (1 << TXEN0);
    make_up();
    if (fxp_init(&model, arena) != FXP_OK) {
        put('!');
    }
    put('=');
    put_number(fxp_predict(&model, inputs, logits));
    for (i = 0; i < FXP_OUTPUTS; i++) {
        put_number(logits[i]);
    }
#if FXP_TRAINING
    learn();
#endif
    put('\n');
    cli();
    sleep_mode(); /* without interrupts the simulator ends here */
    return 0;
}
