// Writes a story to the serial monitor, and another one each time you send a line that begins it.

#include <tinybuddy.h>

static buddy b;  // BUDDY_RAM_BYTES, all that it takes but for the stack

void tell(const String &beginning) {
  static uint64_t seed = 0;
  if (buddy_begin(&b, beginning.c_str(), beginning.length(), seed++) < 0) return;
  Serial.print(beginning);
  int32_t id;
  do {
    id = buddy_next(&b);
    Serial.print(buddy_decode(&b, id, NULL));
  } while (id >= 0);
  Serial.println();
}

void setup() {
  Serial.begin(115200);
  if (buddy_init(&b) != 0) return;
  tell("Once upon a time");
}

void loop() {
  if (!Serial.available()) return;
  String line = Serial.readStringUntil('\n');
  line.trim();
  tell(line);
}
