/* Stands in for TFLM's header of this name; see micro_interpreter.h. The interpreter calls its virtual functions. */
#ifndef TESTS_MICRO_MUTABLE_OP_RESOLVER_H
#define TESTS_MICRO_MUTABLE_OP_RESOLVER_H

#include "micro_interpreter.h"

namespace tflite {

class Operator;

namespace micro {

class BuiltinDataAllocator;
using BuiltinParseFunction = TfLiteStatus (*)(const Operator *, BuiltinDataAllocator *, void **);

struct TFLMRegistration {
  void *functions[5];
  int32_t builtin_code;
  const char *custom_name;
};

class MicroOpResolver {
 public:
  virtual const TFLMRegistration *FindOp(BuiltinOperator code) const = 0;
  virtual const TFLMRegistration *FindOp(const char *name) const = 0;
  virtual BuiltinParseFunction GetOpDataParser(BuiltinOperator code) const = 0;
  virtual ~MicroOpResolver() {}
};

/* Its method, its register and parse functions, and its number in the schema. */
#define TESTS_OPERATORS(X) \
  X(AddAveragePool2D, AVERAGE_POOL_2D, ParsePool, 1) \
  X(AddConv2D, CONV_2D, ParseConv2D, 3) \
  X(AddDepthwiseConv2D, DEPTHWISE_CONV_2D, ParseDepthwiseConv2D, 4) \
  X(AddFullyConnected, FULLY_CONNECTED, ParseFullyConnected, 9) \
  X(AddLogistic, LOGISTIC, ParseLogistic, 14) \
  X(AddMaxPool2D, MAX_POOL_2D, ParsePool, 17) \
  X(AddRelu, RELU, ParseRelu, 19) \
  X(AddReshape, RESHAPE, ParseReshape, 22) \
  X(AddMean, MEAN, ParseReducer, 40) \
  X(AddReduceMax, REDUCE_MAX, ParseReducer, 82) \
  X(AddLeakyRelu, LEAKY_RELU, ParseLeakyRelu, 98)
#define TESTS_DECLARE(METHOD, NAME, PARSE, CODE) \
  TFLMRegistration Register_##NAME(); \
  TfLiteStatus PARSE(const Operator *, BuiltinDataAllocator *, void **);
TESTS_OPERATORS(TESTS_DECLARE)

template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  void operator delete(void *) {} /* as in TFLM: there is no heap to give it back to */

#define TESTS_DEFINE(METHOD, NAME, PARSE, CODE) \
  TfLiteStatus METHOD() { return add(Register_##NAME(), PARSE, CODE); }
  TESTS_OPERATORS(TESTS_DEFINE)

  const TFLMRegistration *FindOp(BuiltinOperator code) const override {
    for (unsigned int i = 0; i < count; i++) {
      if (registrations[i].builtin_code == code) return &registrations[i];
    }
    return nullptr;
  }
  const TFLMRegistration *FindOp(const char *) const override { return nullptr; }
  BuiltinParseFunction GetOpDataParser(BuiltinOperator code) const override {
    const TFLMRegistration *found = FindOp(code);
    return found ? parsers[found - registrations] : nullptr;
  }

 private:
  TfLiteStatus add(TFLMRegistration registration, BuiltinParseFunction parse, int32_t code) {
    if (count == tOpCount) return kTfLiteError;
    registration.builtin_code = code;
    registrations[count] = registration;
    parsers[count++] = parse;
    return kTfLiteOk;
  }

  TFLMRegistration registrations[tOpCount];
  BuiltinParseFunction parsers[tOpCount];
  unsigned int count = 0;
};

}  // namespace micro
}  // namespace tflite

#endif
