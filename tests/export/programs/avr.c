/* On an AVR: class and logits of one made-up sample to the serial port as decimal numbers, then the end. */
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

int main(void)
{
    int32_t logits[FXP_OUTPUTS];
    uint32_t seed = 5;
    int16_t i;
    UCSR0B = (1 << TXEN0);
    for (i = 0; i < FXP_INPUTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        inputs[i] = (fxp_input)(seed >> 24);
    }
    if (fxp_init(&model, arena) != FXP_OK) {
        put('!');
    }
    put('=');
    put_number(fxp_predict(&model, inputs, logits));
    for (i = 0; i < FXP_OUTPUTS; i++) {
        put_number(logits[i]);
    }
    put('\n');
    cli();
    sleep_mode(); /* without interrupts the simulator ends here */
    return 0;
}
