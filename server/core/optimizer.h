// Which update a table's pushes apply, and with which numbers. Formulas and the place of epsilon are those of tf_keras
// 2.16 for sparse gradients, applied lazily: only pushed rows move.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels.h"

namespace rowbank {

enum class OptimizerKind : std::uint8_t { kSgd, kMomentum, kAdagrad, kRowwiseAdagrad, kAdam, kAdamW, kRmsprop, kFtrl };

// What one push may change. Absent: the table's own number.
struct PushOverrides {
  std::optional<float> learning_rate;
  std::optional<float> clip_value;
  std::optional<float> max_norm;
};

// Everything a batch needs to update its rows.
struct UpdatePlan {
  UpdateFn update = nullptr;
  UpdateParams params;
  float clip_value = 0;  // 0: gradients are not clipped.
  float max_norm = 0;    // 0: gradients are not scaled.
};

class Optimizer {
 public:
  // `numbers`: named as in the wire's Optimizer messages; missing ones take Keras's defaults, booleans are 0 or 1.
  // Throws std::invalid_argument for an unknown kind or name and for numbers out of range, naming them.
  Optimizer(const std::string& kind, const std::map<std::string, double>& numbers);

  OptimizerKind kind() const { return kind_; }
  const std::string& kind_name() const { return kind_name_; }
  const std::map<std::string, double>& numbers() const { return numbers_; }

  // One name per slot, in the order in which they lie in a row. Each has `dim` floats, except "accumulator_mean": one.
  std::vector<std::string> slot_names() const;
  std::size_t slot_width(std::size_t dim) const;
  void fill_initial_slots(float* slots, std::size_t dim) const;

  // The plan of a push at `step` (1 for the first; only Adam and AdamW look at it).
  // Throws std::invalid_argument for step 0 and for overrides that are negative or not finite.
  UpdatePlan plan(std::uint64_t step, const PushOverrides& overrides) const;

 private:
  double number(const char* name) const;
  bool flag(const char* name) const { return number(name) != 0.0; }
  void check_ranges() const;
  UpdateFn choose_update() const;

  OptimizerKind kind_;
  std::string kind_name_;
  std::map<std::string, double> numbers_;
};

// Clips `gradient` [dim] to plan.clip_value, then scales it down to plan.max_norm. In place.
void clip_gradient(const UpdatePlan& plan, float* gradient, std::size_t dim);

}  // namespace rowbank
