// Classifies raw images on a computer: ./mixture images.raw
//
// A file of 8-bit images, one after another, each as app_graphs[0].input[0].shape says. For each it prints the class and
// the experts that ran.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "app.h"
#include "mixture.h"

int main(int argc, char** argv) {
  const app_tensor& tensor = app_graphs[0].input[0];
  const size_t size = static_cast<size_t>(tensor.shape[1]) * tensor.shape[2] * tensor.shape[3];
  std::FILE* file = argc == 2 ? std::fopen(argv[1], "rb") : nullptr;
  if (!file) {
    std::fprintf(stderr, "Expected one argument, a file of images of %zu bytes each.\n", size);
    return 2;
  }
  std::vector<uint8_t> pixels(size);
  float prediction[APP_LABELS], route[APP_EXPERTS];
  while (std::fread(pixels.data(), 1, size, file) == size) {
    const std::vector<float> image(pixels.begin(), pixels.end());
    if (!Classify(image.data(), prediction, route)) {
      std::fprintf(stderr, "An operation or memory is missing, or the gate is broken.\n");
      return 1;
    }
    int best = 0;
    for (int i = 1; i < APP_LABELS; ++i) best = prediction[i] > prediction[best] ? i : best;
    std::printf("%d", best);
    for (int k = 0; k < APP_EXPERTS; ++k) {
      if (route[k] != 0.0f) std::printf(" expert_%d:%.6f", k, route[k]);
    }
    std::printf(" %s\n", app_labels[best]);
  }
  std::fclose(file);
  return 0;
}
