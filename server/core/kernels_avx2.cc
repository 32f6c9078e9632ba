#include <immintrin.h>

#include "kernels.h"

#define ROWBANK_F16C
#define ROWBANK_VARIANT avx2
#include "kernels_body.inc"
