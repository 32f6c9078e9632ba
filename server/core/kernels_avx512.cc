#include <immintrin.h>

#include "kernels.h"

#define ROWBANK_F16C
#define ROWBANK_VARIANT avx512
#include "kernels_body.inc"
