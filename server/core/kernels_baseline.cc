#include "kernels.h"

#define ROWBANK_VARIANT baseline
#include "kernels_body.inc"
