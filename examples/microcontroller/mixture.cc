// Trunk, router, the chosen experts and head, one after another in one arena.
//
// app.h and app.c: keras-moe export NAME app.json --form parts --quantize int8 --target tflm
#include "mixture.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "app.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

// What passes from graph to graph, in float: a name and its numbers.
struct Value {
  const char* name;
  int size;
  float* data;
};

constexpr int kTrunk = 0, kRouter = 1, kFirstExpert = 2, kHead = APP_GRAPHS - 1;
constexpr int kValues = 16;
constexpr int kOperations = 25;

alignas(16) uint8_t arena[APP_ARENA_BYTES];
float numbers[APP_FLOATS];
Value values[kValues];
int value_count = 0, number_count = 0;

int SizeOf(const app_tensor& tensor) {
  int size = 1;
  for (int i = 0; i < tensor.axes; ++i) size *= tensor.shape[i];
  return size;
}

// The value that a tensor is filled from, or from which it is filled; made when it is first asked for.
const Value& ValueOf(const app_tensor& tensor) {
  for (int i = 0; i < value_count; ++i) {
    if (!std::strcmp(values[i].name, tensor.name)) return values[i];
  }
  Value& value = values[value_count++];
  value = {tensor.name, SizeOf(tensor), numbers + number_count};
  number_count += value.size;
  return value;
}

void Fill(TfLiteTensor* to, const app_tensor& tensor) {
  const Value& value = ValueOf(tensor);
  for (int i = 0; i < value.size; ++i) {
    if (to->type == kTfLiteFloat32) {
      to->data.f[i] = value.data[i];
    } else {
      const float level = std::rint(value.data[i] / tensor.scale) + tensor.zero_point;
      to->data.int8[i] = static_cast<int8_t>(std::min(127.0f, std::max(-128.0f, level)));
    }
  }
}

void Keep(const TfLiteTensor* from, const app_tensor& tensor) {
  const Value& value = ValueOf(tensor);
  for (int i = 0; i < value.size; ++i) {
    value.data[i] = from->type == kTfLiteFloat32 ? from->data.f[i]
                                                 : (from->data.int8[i] - tensor.zero_point) * tensor.scale;
  }
}

// Those of a classifier's parts. The report of the export lists the operations of a model.
const tflite::MicroOpResolver& Operations() {
  static tflite::MicroMutableOpResolver<kOperations> operations;
  static const bool added = [] {
    bool ok = true;
    for (TfLiteStatus status :
         {operations.AddAdd(),          operations.AddCast(),        operations.AddConv2D(),
          operations.AddDepthwiseConv2D(), operations.AddDiv(),      operations.AddEqual(),
          operations.AddExp(),          operations.AddFullyConnected(), operations.AddGreater(),
          operations.AddGreaterEqual(), operations.AddLess(),        operations.AddLogicalAnd(),
          operations.AddLogicalOr(),    operations.AddMaximum(),     operations.AddMean(),
          operations.AddMul(),          operations.AddReduceAll(),   operations.AddReduceMax(),
          operations.AddRelu(),         operations.AddRelu6(),       operations.AddReshape(),
          operations.AddSelectV2(),     operations.AddSoftmax(),     operations.AddSub(),
          operations.AddSum()}) {
      ok = ok && status == kTfLiteOk;
    }
    return ok;
  }();
  (void)added;  // an operation that is missing fails in AllocateTensors
  return operations;
}

bool Run(const app_graph& graph) {
  tflite::MicroInterpreter interpreter(tflite::GetModel(graph.data), Operations(), arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return false;
  for (int i = 0; i < graph.inputs; ++i) Fill(interpreter.input(i), graph.input[i]);
  if (interpreter.Invoke() != kTfLiteOk) return false;
  for (int i = 0; i < graph.outputs; ++i) Keep(interpreter.output(i), graph.output[i]);
  return true;
}

const Value& Named(const app_graph& graph, bool is_output, const char* name) {
  const app_tensor* tensors = is_output ? graph.output : graph.input;
  const int count = is_output ? graph.outputs : graph.inputs;
  int at = 0;
  while (at < count - 1 && std::strcmp(tensors[at].name, name)) ++at;
  return ValueOf(tensors[at]);
}

}  // namespace

bool Classify(const float* image, float* prediction, float* route) {
  const Value& images = Named(app_graphs[kTrunk], false, "images");
  std::copy(image, image + images.size, images.data);
  if (!Run(app_graphs[kTrunk]) || !Run(app_graphs[kRouter])) return false;

  const Value& weights = Named(app_graphs[APP_ROUTE_GRAPH], true, "route");
  std::copy(weights.data, weights.data + APP_EXPERTS, route);
  const Value& combined = Named(app_graphs[kHead], false, "combined");
  std::fill(combined.data, combined.data + combined.size, 0.0f);
  for (int k = 0; k < APP_EXPERTS; ++k) {
    if (!std::isfinite(route[k])) return false;  // a broken gate must not look like a route
    if (route[k] == 0.0f) continue;
    if (!Run(app_graphs[kFirstExpert + k])) return false;
    const Value& output = Named(app_graphs[kFirstExpert + k], true, "output");
    for (int i = 0; i < output.size; ++i) combined.data[i] += route[k] * output.data[i];
  }

  if (!Run(app_graphs[kHead])) return false;
  const Value& scores = Named(app_graphs[kHead], true, "prediction");
  std::copy(scores.data, scores.data + scores.size, prediction);
  return true;
}
