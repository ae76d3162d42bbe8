/* Characters of UTF-8, whatever bytes come. */

#ifndef BUDDY_UTF8_H
#define BUDDY_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef struct utf8 {
    const uint8_t
        *text;      /* its bytes: those that were read, or U+FFFD in place of what is no UTF-8 */
    size_t size;    /* of them */
    size_t taken;   /* bytes read */
    int unfinished; /* whether more bytes could have made a character of it */
} utf8;

/* The character that begins at bytes; there is one at least. What is no UTF-8 is divided as the
   Unicode standard advises, and Python does: the longest beginning of a character is one U+FFFD. */
utf8 utf8_next(const uint8_t *bytes, size_t left);

/* The number of a character that utf8_next gave. */
uint32_t utf8_code_point(utf8 character);

#endif
