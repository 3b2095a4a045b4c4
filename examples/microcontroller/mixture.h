// A mixture of experts on a microcontroller: see mixture.cc.
#ifndef MIXTURE_H_
#define MIXTURE_H_

// Classifies one image, app_graphs[0].input[0].shape of values in [0, 255]. `prediction` takes a score for each class,
// `route` a weight for each of APP_EXPERTS experts; zero: it did not run. False: an operation or memory is missing, or
// the gate is broken.
bool Classify(const float* image, float* prediction, float* route);

#endif  // MIXTURE_H_
