/* Hears samples from a buffer, whatever fills it: here the serial line, so that a board without a microphone can be sent
 * a recording, and a microphone of your own can take its place. After a second without samples a recording is over.
 *
 *   stty -F /dev/ttyACM0 raw -echo
 *   cat /dev/ttyACM0 &
 *   ffmpeg -loglevel error -i FILE -f s16le -ac 1 -ar 16000 - > /dev/ttyACM0
 *
 * The first, since a terminal changes bytes and sends back what it gets. For boards with USB of their own: a plain serial
 * line of 115,200 baud is slower than sound, and loses bytes. Not run on hardware by its makers. */
#include <gunshot_listener.h>

static int16_t block[112];  // 7 ms
static unsigned long blocks = 0, longest = 0;

void heard(const gunshot_heard *incident, void *context) {
  (void)context;
  for (size_t i = 0; i < incident->onset_count; i++) {
    Serial.print("shot at ");
    Serial.print((unsigned long)(incident->onsets[i] / 16));
    Serial.print(" ms, score ");
    Serial.println(incident->score);
  }
}

void begin() {
  blocks = longest = 0;
  if (!gunshot_listener_begin(heard, NULL)) Serial.println("the model in flash is damaged");
}

void setup() {
  Serial.begin(115200);
  begin();
}

void loop() {
  const size_t bytes = Serial.readBytes((char *)block, sizeof block);  // waits for a second at most
  if (bytes > 0) {
    const unsigned long before = micros();
    gunshot_listener_hear(block, bytes / sizeof block[0]);
    const unsigned long took = micros() - before;
    longest = took > longest ? took : longest;
    blocks++;
  } else if (blocks > 0) {
    gunshot_listener_end();
    Serial.print("blocks of 7 ms: ");
    Serial.print(blocks);
    Serial.print(", the longest took us: ");  // the network decides in one of eight; together 56,000 must do for them
    Serial.println(longest);
    begin();
  }
}
