/* A language model that writes very short stories, for anything with a C99 compiler.

       #include "tinybuddy.h"

       static buddy b;

       buddy_init(&b);
       buddy_begin(&b, "Once upon a time", 16, 1);
       for (int32_t id; (id = buddy_next(&b)) >= 0;) print(buddy_decode(&b, id, NULL));

   It uses neither malloc nor stdio, nor threads: its memory is the struct, all of it. Beyond that
   it takes about 4 KB of stack. The weights stay where the linker puts constants, which is flash.
   Of the C library it needs memcpy and its kin, sqrtf and exp. */

#ifndef TINYBUDDY_H
#define TINYBUDDY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "engine/sample.h"
#include "model.h"

enum {                       /* what functions return instead of an id or a count */
       BUDDY_END = -1,       /* the story is over */
       BUDDY_TOO_LONG = -2,  /* the text has more tokens than there is room for */
       BUDDY_BROKEN = -3,    /* the weights, or the settings, are such that no token can be drawn */
       BUDDY_BAD_MODEL = -4, /* model.h and the weights do not belong together: export them again */
};

/* A story. Zero it or not: buddy_init does. Fields above the line are yours. */
typedef struct buddy {
    /* How the next token is drawn; may be changed at any time. In this order: repetition_penalty
       (1 is none), temperature (0 always takes the best token), top_k (0 is off), top_p (1 is off),
       min_p (0 is off). */
    tb_sampling sampling;
    tb_random random;
    /* ---- */
    int32_t count, fed; /* ids in the window, and how many of them the cache has */
    int32_t ended;      /* 0, or what buddy_next returns from now on */
    int32_t held;       /* bytes of an unfinished character */
    uint16_t ids[BUDDY_CONTEXT + 1];
    uint8_t seen[BUDDY_VOCAB_SIZE];          /* 1 for the tokens of the story, for the penalty */
    char text[BUDDY_TEXT_BYTES];             /* what buddy_decode returned */
    uint8_t unfinished[4];                   /* the bytes that are held */
    double model[BUDDY_MODEL_BYTES / 8];     /* a tb_model: pointers to the weights */
    double cache[BUDDY_CACHE_BYTES / 8];     /* a tb_stream: keys and values of the window */
    double scratch[BUDDY_SCRATCH_BYTES / 8]; /* a tb_scratch: activations, logits, sampling */
} buddy;

/* All the RAM that a story takes, but for the stack: a constant. */
#define BUDDY_RAM_BYTES sizeof(buddy)

/* Makes it ready, with the model's own settings. Returns 0 or BUDDY_BAD_MODEL. */
int buddy_init(buddy *b);

/* Begins a new story with a text, which may be empty: `length` bytes of UTF-8. The same seed tells
   the same story, as it does in tinybuddy's other programs. Bytes that are no UTF-8 count as
   U+FFFD; of characters that the tokenizer does not know none is read.

   Returns the tokens of the text, or BUDDY_TOO_LONG, and then there is no story. */
int32_t buddy_begin(buddy *b, const char *text, size_t length, uint64_t seed);

/* Draws the next token of the story. The first call reads the text of buddy_begin, a token of which
   takes as long as one drawn. Past BUDDY_CONTEXT tokens it goes on from the last half of them.

   Returns its id; BUDDY_END where the story is over; or BUDDY_BROKEN. */
int32_t buddy_next(buddy *b);

/* The text of a token that continues what was decoded before, in whole characters of UTF-8: it is
   empty while one is unfinished. An id below 0 ends the text. What is returned ends with a 0 byte,
   is at most BUDDY_TEXT_BYTES - 1 long, and stays until the next call; *length, unless it is NULL,
   becomes its length, since a text may hold 0 bytes. */
const char *buddy_decode(buddy *b, int32_t id, size_t *length);

/* The tokenizer alone. */

/* Splits a text into tokens, without the one that begins a story. ids, `room` of them, also serves
   as working memory: room for as many as the text has bytes suffices, or for three times as many
   where these are no UTF-8. Returns how many there are, or BUDDY_TOO_LONG. */
int32_t buddy_encode(const char *text, size_t length, uint16_t *ids, size_t room);

/* The bytes of a token, which need not be whole characters; none for special and unknown ids. */
const char *buddy_piece(int32_t id, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
