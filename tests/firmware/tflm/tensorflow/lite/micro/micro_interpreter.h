/* Stands in for TFLM's header of this name: only what firmware/src/model_tflm.cc uses, laid out as in the tflite-micro
 * wheel for x86-64, so that the firmware's source runs on the real interpreter in that wheel. It says nothing of
 * whether TFLM's own headers compile. */
#ifndef TESTS_MICRO_INTERPRETER_H
#define TESTS_MICRO_INTERPRETER_H

#include <cstddef>
#include <cstdint>
#include <cstring>

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

enum BuiltinOperator : int32_t {};

/* A table of a flatbuffer: where it lies less its first word is a table of 16-bit offsets of its fields. */
struct Table {
  template <typename T>
  T at(ptrdiff_t offset) const {
    T found;
    memcpy(&found, reinterpret_cast<const uint8_t *>(this) + offset, sizeof found);
    return found;
  }
  uint16_t place(int field) const {
    const ptrdiff_t fields = -static_cast<ptrdiff_t>(at<int32_t>(0));
    return 4 + 2 * field < at<uint16_t>(fields) ? at<uint16_t>(fields + 4 + 2 * field) : 0;
  }
  template <typename T>
  T value(int field) const {
    return place(field) ? at<T>(place(field)) : T{};
  }
  template <typename T>
  const T *pointer(ptrdiff_t offset) const {
    return reinterpret_cast<const T *>(reinterpret_cast<const uint8_t *>(this) + offset + at<uint32_t>(offset));
  }
};

struct OperatorCode : Table {
  int8_t deprecated_builtin_code() const { return value<int8_t>(0); }
  BuiltinOperator builtin_code() const { return value<BuiltinOperator>(3); }
};

struct OperatorCodes : Table {
  uint32_t size() const { return at<uint32_t>(0); }
  const OperatorCode *Get(uint32_t i) const { return pointer<OperatorCode>(4 + 4 * i); }
};

struct Model : Table {
  uint32_t version() const { return value<uint32_t>(0); }
  const OperatorCodes *operator_codes() const { return pointer<OperatorCodes>(place(1)); }
};

inline const Model *GetModel(const void *bytes) { return static_cast<const Table *>(bytes)->pointer<Model>(0); }

namespace micro {

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteInt8 = 9 };

struct TfLiteIntArray {
  int size;
  int data[];
};

struct TfLiteTensor {
  struct {
    int type;
    void *params;
  } quantization;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  union {
    int8_t *int8;
  } data;
  TfLiteIntArray *dims;
  size_t bytes;
  TfLiteType type;
};

class MicroOpResolver;
class MicroResourceVariables;
class MicroProfilerInterface;

class MicroInterpreter {
 public:
  MicroInterpreter(const Model *model, const MicroOpResolver &resolver, uint8_t *arena, size_t arena_bytes,
                   MicroResourceVariables *variables = nullptr, MicroProfilerInterface *profiler = nullptr,
                   bool preserve_all_tensors = false);
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor *input(size_t index);
  TfLiteTensor *output(size_t index);

 private:
  alignas(16) uint8_t members[4096]; /* more than it has */
};

}  // namespace micro
}  // namespace tflite

#endif
