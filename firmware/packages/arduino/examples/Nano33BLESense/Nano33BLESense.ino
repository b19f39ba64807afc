/* Tells gunshots that the microphone of an Arduino Nano 33 BLE Sense hears, on the serial monitor, and lights the LED
 * while an incident is open. Not run on hardware by its makers. */
#include <PDM.h>
#include <gunshot_listener.h>

void heard(const gunshot_heard *incident, void *context) {
  (void)context;
  digitalWrite(LED_BUILTIN, incident->state == GUNSHOT_HEARD_CLOSED ? LOW : HIGH);
  for (size_t i = 0; i < incident->onset_count; i++) {
    Serial.print("shot at ");
    Serial.print((unsigned long)(incident->onsets[i] / 16));
    Serial.print(" ms, incident ");
    Serial.print((unsigned long)incident->incident);
    Serial.print(", score ");
    Serial.println(incident->score);
  }
}

/* In the interrupt: PDM stops for good where a block is not taken before the next one is full. */
void received() {
  static int16_t samples[256];
  const int bytes = PDM.read(samples, sizeof samples);
  gunshot_listener_write(samples, (size_t)bytes / sizeof samples[0]);
}

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
  if (!gunshot_listener_begin(heard, NULL)) {
    Serial.println("the model in flash is damaged");
    while (true) {
    }
  }
  PDM.onReceive(received);
  PDM.setBufferSize(512);  // bytes: 256 samples, 16 ms
  PDM.setGain(40);         // of 0 to 80, in half dB from -20 dB: 40 adds nothing, and shots are loud
  if (!PDM.begin(1, GUNSHOT_LISTENER_RATE)) {
    Serial.println("the microphone does not start");
    while (true) {
    }
  }
}

void loop() {
  static uint64_t lost = 0;
  gunshot_listener_poll();
  if (gunshot_listener_lost() != lost) {
    lost = gunshot_listener_lost();
    Serial.print("samples lost so far: ");
    Serial.println((unsigned long)lost);
  }
}
