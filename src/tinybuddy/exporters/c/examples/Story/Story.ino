// Writes a story to the serial monitor, and another one each time you send a line that begins it.

#include <tinybuddy.h>

const int MOST_TOKENS = 512;  // of a story that does not end by itself

static buddy b;  // BUDDY_RAM_BYTES, all that it takes but for the stack

void tell(const String &beginning) {
  static uint64_t seed = 0;
  if (buddy_begin(&b, beginning.c_str(), beginning.length(), seed++) < 0) return;
  Serial.print(beginning);
  for (int left = MOST_TOKENS; left > 0; left--) {
    int32_t id = buddy_next(&b);
    Serial.print(buddy_decode(&b, id, NULL));
    if (id < 0) break;
  }
  Serial.println();
}

void setup() {
  Serial.begin(115200);
  if (buddy_init(&b) == 0) tell("Once upon a time");
}

void loop() {
  if (!Serial.available()) return;
  String line = Serial.readStringUntil('\n');
  line.trim();
  tell(line);
}
