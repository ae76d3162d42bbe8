#include "utf8.h"

/* How many bytes follow a first one; -1 for what begins no character. */
static int following(uint8_t first) {
    if (first < 0x80) return 0;
    if (first < 0xc2 || first > 0xf4) return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

/* Whether a byte may come at place i behind a first one: too long forms, surrogates and numbers
   beyond U+10FFFF show in the second byte. */
static int may_follow(uint8_t first, int i, uint8_t byte) {
    const uint8_t least = i > 1 ? 0x80 : first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t most = i > 1 ? 0xbf : first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return least <= byte && byte <= most;
}

utf8 utf8_next(const uint8_t *bytes, size_t left) {
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    const int more = following(bytes[0]);
    size_t i = 1;
    while (more > 0 && i <= (size_t)more && i < left && may_follow(bytes[0], (int)i, bytes[i])) i++;
    if (more >= 0 && i == (size_t)more + 1) return (utf8){bytes, i, i, 0};
    return (utf8){replacement, sizeof replacement, i, more > 0 && i == left};
}

uint32_t utf8_code_point(utf8 c) {
    if (c.size == 1) return c.text[0];
    uint32_t code = c.text[0] & (0x7fu >> c.size);
    for (size_t i = 1; i < c.size; i++) code = code << 6 | (c.text[i] & 0x3fu);
    return code;
}
