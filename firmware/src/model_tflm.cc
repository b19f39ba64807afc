/* model.h by the TensorFlow Lite Micro interpreter, with the model's own operators alone; see DOC/tflm.md. */
#include <new>

#include "constants.h"
extern "C" {
#include "crc32.h"
}
#include "generated/model.h"
#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace tflite {
namespace micro {} /* newer trees have their names here, older ones in tflite */
}  // namespace tflite
using namespace tflite;
using namespace tflite::micro;

/* TFLM's methods by the schema's names. An operator that is missing here is an error of the compiler: ADD_ its name. */
#define ADD_AVERAGE_POOL_2D AddAveragePool2D
#define ADD_CONV_2D AddConv2D
#define ADD_DEPTHWISE_CONV_2D AddDepthwiseConv2D
#define ADD_FULLY_CONNECTED AddFullyConnected
#define ADD_LEAKY_RELU AddLeakyRelu
#define ADD_LOGISTIC AddLogistic
#define ADD_MAX_POOL_2D AddMaxPool2D
#define ADD_MEAN AddMean
#define ADD_REDUCE_MAX AddReduceMax
#define ADD_RELU AddRelu
#define ADD_RESHAPE AddReshape

namespace {

using Resolver = MicroMutableOpResolver<GUNSHOT_OPERATOR_COUNT>;

/* Made anew in place by each Init: no heap, and no constructor before main. Nothing is destroyed: what they hold lies
 * in the arena, which may be gone by then. */
alignas(Resolver) unsigned char resolver_memory[sizeof(Resolver)];
alignas(MicroInterpreter) unsigned char interpreter_memory[sizeof(MicroInterpreter)];
MicroInterpreter *interpreter; /* null until an Init succeeds */

bool add_operators(Resolver &resolver) {
  bool added = true;
#define ADD(NAME) added = resolver.ADD_##NAME() == kTfLiteOk && added;
  GUNSHOT_OPERATORS(ADD)
#undef ADD
  return added;
}

bool all_registered(const Model &model, const Resolver &resolver) {
  for (uint32_t i = 0; i < model.operator_codes()->size(); i++) {
    const OperatorCode &code = *model.operator_codes()->Get(i);
    /* One byte until it had too many values: the schema says that the greater of the two holds. */
    const int wide = code.builtin_code(), narrow = code.deprecated_builtin_code();
    if (!resolver.FindOp(static_cast<BuiltinOperator>(wide > narrow ? wide : narrow))) return false;
  }
  return true;
}

gunshot_status input_fits(const TfLiteTensor *input) {
  if (!input || input->dims->size != 4) return GUNSHOT_SHAPE;
  const int *dims = input->dims->data;
  if (dims[0] != 1 || dims[1] != GUNSHOT_N_MELS || dims[2] != GUNSHOT_N_FRAMES || dims[3] != 1) return GUNSHOT_SHAPE;
  if (input->type != kTfLiteInt8 || input->params.scale != GUNSHOT_INPUT_SCALE ||
      input->params.zero_point != GUNSHOT_INPUT_ZERO_POINT) {
    return GUNSHOT_TYPE;
  }
  return GUNSHOT_OK;
}

gunshot_status output_fits(const TfLiteTensor *output) {
  if (!output || output->dims->size != 2 || output->dims->data[0] != 1 || output->dims->data[1] != 2) {
    return GUNSHOT_SHAPE;
  }
  if (output->type != kTfLiteInt8 || output->params.scale != GUNSHOT_OUTPUT_SCALE ||
      output->params.zero_point != GUNSHOT_OUTPUT_ZERO_POINT) {
    return GUNSHOT_TYPE;
  }
  return GUNSHOT_OK;
}

}  // namespace

const gunshot_artifact gunshot_model_artifact = {gunshot_model, GUNSHOT_MODEL_BYTES};
const size_t gunshot_model_arena_bytes = GUNSHOT_ARENA_BYTES;

gunshot_status gunshot_model_init(gunshot_artifact artifact, uint8_t *arena, size_t arena_bytes) {
  interpreter = nullptr;
  if (!artifact.bytes || artifact.size < GUNSHOT_MODEL_BYTES) return GUNSHOT_TRUNCATED;
  if (gunshot_crc32(artifact.bytes, artifact.size) != GUNSHOT_MODEL_CRC32) return GUNSHOT_CRC;
  if (reinterpret_cast<uintptr_t>(artifact.bytes) % 16) return GUNSHOT_TYPE;
  const Model *model = GetModel(artifact.bytes);
  if (model->version() != TFLITE_SCHEMA_VERSION) return GUNSHOT_VERSION;
  Resolver *resolver = ::new (resolver_memory) Resolver();
  if (!add_operators(*resolver) || !all_registered(*model, *resolver)) return GUNSHOT_OPERATOR;
  /* The interpreter lays its own parts into the arena before it checks what is left. */
  if (!arena || reinterpret_cast<uintptr_t>(arena) % 16 || arena_bytes < gunshot_model_arena_bytes) {
    return GUNSHOT_ARENA;
  }
  MicroInterpreter *made = ::new (interpreter_memory) MicroInterpreter(model, *resolver, arena, arena_bytes);
  if (made->AllocateTensors() != kTfLiteOk) return GUNSHOT_ARENA;
  gunshot_status status = input_fits(made->input(0));
  if (status == GUNSHOT_OK) status = output_fits(made->output(0));
  if (status == GUNSHOT_OK) interpreter = made;
  return status;
}

void gunshot_model_reset(void) {} /* each window is computed anew */

void gunshot_model_vectors(size_t *positions, size_t *width) { *positions = *width = 0; }

gunshot_status gunshot_model_score(const int8_t *codes, int16_t *logit) {
  if (!interpreter) return GUNSHOT_NOT_READY;
  int8_t *input = interpreter->input(0)->data.int8; /* band by band */
  for (int frame = 0; frame < GUNSHOT_N_FRAMES; frame++) {
    for (int band = 0; band < GUNSHOT_N_MELS; band++) input[band * GUNSHOT_N_FRAMES + frame] = *codes++;
  }
  if (interpreter->Invoke() != kTfLiteOk) return GUNSHOT_OPERATOR;
  *logit = static_cast<int16_t>(interpreter->output(0)->data.int8[0] - GUNSHOT_OUTPUT_ZERO_POINT);
  return GUNSHOT_OK;
}
