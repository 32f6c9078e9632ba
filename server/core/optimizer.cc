#include "optimizer.h"

#include <cmath>
#include <cstdio>
#include <stdexcept>

namespace rowbank {
namespace {

struct KindInfo {
  const char* name;
  OptimizerKind kind;
  std::map<std::string, double> defaults;
};

const std::vector<KindInfo>& kinds() {
  static const std::vector<KindInfo> all = {
      {"sgd", OptimizerKind::kSgd, {{"learning_rate", 0.01}}},
      {"momentum", OptimizerKind::kMomentum, {{"learning_rate", 0.01}, {"momentum", 0.9}, {"nesterov", 0}}},
      {"adagrad", OptimizerKind::kAdagrad, {{"learning_rate", 0.001}, {"initial_accumulator", 0.1}, {"epsilon", 1e-7}}},
      {"rowwise_adagrad",
       OptimizerKind::kRowwiseAdagrad,
       {{"learning_rate", 0.001}, {"initial_accumulator", 0.1}, {"epsilon", 1e-7}}},
      {"adam",
       OptimizerKind::kAdam,
       {{"learning_rate", 0.001}, {"beta_1", 0.9}, {"beta_2", 0.999}, {"epsilon", 1e-7}, {"amsgrad", 0}}},
      {"adamw",
       OptimizerKind::kAdamW,
       {{"learning_rate", 0.001},
        {"beta_1", 0.9},
        {"beta_2", 0.999},
        {"epsilon", 1e-7},
        {"amsgrad", 0},
        {"weight_decay", 0.004}}},
      {"rmsprop",
       OptimizerKind::kRmsprop,
       {{"learning_rate", 0.001}, {"rho", 0.9}, {"momentum", 0}, {"epsilon", 1e-7}, {"centered", 0}}},
      {"ftrl",
       OptimizerKind::kFtrl,
       {{"learning_rate", 0.001},
        {"learning_rate_power", -0.5},
        {"initial_accumulator", 0.1},
        {"l1", 0},
        {"l2", 0},
        {"l2_shrinkage", 0},
        {"beta", 0}}},
  };
  return all;
}

const KindInfo& find_kind(const std::string& kind) {
  std::string known;
  for (const KindInfo& info : kinds()) {
    if (kind == info.name) {
      return info;
    }
    known += known.empty() ? info.name : std::string(", ") + info.name;
  }
  throw std::invalid_argument("optimizer kind must be one of " + known + ", got '" + kind + "'");
}

std::string text(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", x);
  return buffer;
}

float checked_override(const std::optional<float>& given, double own, const char* name, bool zero_allowed) {
  if (!given) {
    return static_cast<float>(own);
  }
  if (!std::isfinite(*given) || *given < 0 || (*given == 0 && !zero_allowed)) {
    throw std::invalid_argument(std::string("push: ") + name + " must be a finite number " +
                                (zero_allowed ? "of at least 0" : "above 0") + ", got " + text(*given));
  }
  return *given;
}

}  // namespace

Optimizer::Optimizer(const std::string& kind, const std::map<std::string, double>& numbers) {
  const KindInfo& info = find_kind(kind);
  kind_ = info.kind;
  kind_name_ = info.name;
  numbers_ = info.defaults;
  numbers_["clip_value"] = 0;
  numbers_["max_norm"] = 0;
  for (const auto& [name, value] : numbers) {
    const auto known = numbers_.find(name);
    if (known == numbers_.end()) {
      std::string names;
      for (const auto& entry : numbers_) {
        names += (names.empty() ? "" : ", ") + entry.first;
      }
      throw std::invalid_argument("optimizer " + kind + " has no number '" + name + "'; it takes " + names);
    }
    known->second = value;
  }
  check_ranges();
}

void Optimizer::check_ranges() const {
  for (const auto& [name, value] : numbers_) {
    const auto fail = [&, &number = name, &got = value](const char* expected) {
      throw std::invalid_argument("optimizer " + kind_name_ + ": " + number + " must be " + expected + ", got " +
                                  text(got));
    };
    if (!std::isfinite(static_cast<float>(value))) {
      fail("a finite float32");
    } else if (name == "learning_rate_power") {
      if (value > 0) fail("at most 0");
    } else if (name == "learning_rate" && kind_ == OptimizerKind::kFtrl) {
      if (value <= 0) fail("above 0");
    } else if (name == "beta_1" || name == "beta_2" || name == "rho") {
      if (value < 0 || value >= 1) fail("in [0, 1)");
    } else if (name == "momentum") {
      if (value < 0 || value > 1) fail("in [0, 1]");
    } else if (name == "nesterov" || name == "amsgrad" || name == "centered") {
      if (value != 0 && value != 1) fail("0 or 1");
    } else if (value < 0) {
      fail("at least 0");
    }
  }
  // An accumulator of 0 and a gradient of 0 would divide 0 by 0.
  const auto positive = [this](const char* name) {
    const auto found = numbers_.find(name);
    return found != numbers_.end() && static_cast<float>(found->second) > 0.0F;
  };
  const bool divides = kind_ != OptimizerKind::kSgd && kind_ != OptimizerKind::kMomentum;
  if (divides && !positive("epsilon") && !positive("initial_accumulator") && !positive("l2")) {
    throw std::invalid_argument("optimizer " + kind_name_ + ": " +
                                (kind_ == OptimizerKind::kFtrl ? "initial_accumulator or l2" : "epsilon") +
                                " must be above 0, got 0; a zero gradient would give NaN");
  }
}

double Optimizer::number(const char* name) const {
  return numbers_.at(name);
}

std::vector<std::string> Optimizer::slot_names() const {
  switch (kind_) {
    case OptimizerKind::kSgd:
      return {};
    case OptimizerKind::kMomentum:
      return {"momentum"};
    case OptimizerKind::kAdagrad:
      return {"accumulator"};
    case OptimizerKind::kRowwiseAdagrad:
      return {"accumulator_mean"};
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return flag("amsgrad") ? std::vector<std::string>{"m", "v", "v_hat"} : std::vector<std::string>{"m", "v"};
    case OptimizerKind::kRmsprop: {
      std::vector<std::string> names{"velocity"};
      if (flag("momentum")) names.emplace_back("momentum");
      if (flag("centered")) names.emplace_back("average_gradient");
      return names;
    }
    case OptimizerKind::kFtrl:
      return {"accumulator", "linear"};
  }
  return {};
}

std::size_t Optimizer::slot_width(std::size_t dim) const {
  return kind_ == OptimizerKind::kRowwiseAdagrad ? 1 : slot_names().size() * dim;
}

void Optimizer::fill_initial_slots(float* slots, std::size_t dim) const {
  const std::size_t width = slot_width(dim);
  std::size_t accumulators = 0;  // How many floats at the front start at initial_accumulator.
  switch (kind_) {
    case OptimizerKind::kAdagrad:
    case OptimizerKind::kFtrl:
      accumulators = dim;
      break;
    case OptimizerKind::kRowwiseAdagrad:
      accumulators = 1;
      break;
    default:
      break;
  }
  const float start = accumulators > 0 ? static_cast<float>(number("initial_accumulator")) : 0.0F;
  for (std::size_t i = 0; i < width; ++i) {
    slots[i] = i < accumulators ? start : 0.0F;
  }
}

UpdateFn Optimizer::choose_update() const {
  const Kernels& k = kernels();
  switch (kind_) {
    case OptimizerKind::kSgd:
      return k.sgd;
    case OptimizerKind::kMomentum:
      return flag("nesterov") ? k.nesterov : k.momentum;
    case OptimizerKind::kAdagrad:
      return k.adagrad;
    case OptimizerKind::kRowwiseAdagrad:
      return k.rowwise_adagrad;
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return flag("amsgrad") ? k.adam_amsgrad : k.adam;
    case OptimizerKind::kRmsprop:
      if (flag("centered")) {
        return flag("momentum") ? k.rmsprop_centered_momentum : k.rmsprop_centered;
      }
      return flag("momentum") ? k.rmsprop_momentum : k.rmsprop;
    case OptimizerKind::kFtrl:
      return k.ftrl;
  }
  return k.sgd;
}

UpdatePlan Optimizer::plan(std::uint64_t step, const PushOverrides& overrides) const {
  if (step == 0) {
    throw std::invalid_argument("push: step must be at least 1, got 0; the first push of a table has step 1");
  }
  UpdatePlan plan;
  plan.update = choose_update();
  plan.clip_value = checked_override(overrides.clip_value, number("clip_value"), "clip_value", true);
  plan.max_norm = checked_override(overrides.max_norm, number("max_norm"), "max_norm", true);
  UpdateParams& p = plan.params;
  p.learning_rate = checked_override(overrides.learning_rate, number("learning_rate"), "learning_rate",
                                     kind_ != OptimizerKind::kFtrl);
  const auto optional_number = [this](const char* name) {
    const auto found = numbers_.find(name);
    return found == numbers_.end() ? 0.0 : found->second;
  };
  p.momentum = static_cast<float>(optional_number("momentum"));
  p.epsilon = static_cast<float>(optional_number("epsilon"));
  p.rho = static_cast<float>(optional_number("rho"));
  p.one_minus_rho = static_cast<float>(1.0 - optional_number("rho"));
  p.weight_decay = static_cast<float>(optional_number("weight_decay"));
  if (kind_ == OptimizerKind::kAdam || kind_ == OptimizerKind::kAdamW) {
    // Powers are rounded to float32 before they are subtracted, as Keras does: early steps depend on it.
    const auto power = [step](double beta) {
      return static_cast<float>(std::pow(static_cast<double>(static_cast<float>(beta)), static_cast<double>(step)));
    };
    p.one_minus_beta1 = static_cast<float>(1.0 - number("beta_1"));
    p.one_minus_beta2 = static_cast<float>(1.0 - number("beta_2"));
    p.alpha = p.learning_rate * std::sqrt(1.0F - power(number("beta_2"))) / (1.0F - power(number("beta_1")));
  }
  if (kind_ == OptimizerKind::kFtrl) {
    p.l1 = static_cast<float>(number("l1"));
    const float l2 = static_cast<float>(number("l2")) + static_cast<float>(number("beta")) / (2.0F * p.learning_rate);
    p.two_l2 = 2.0F * l2;
    p.two_shrinkage = static_cast<float>(2.0 * number("l2_shrinkage"));
    p.power = static_cast<float>(-number("learning_rate_power"));
  }
  return plan;
}

void clip_gradient(const UpdatePlan& plan, float* gradient, std::size_t dim) {
  if (plan.clip_value > 0) {
    kernels().clip(gradient, plan.clip_value, dim);
  }
  if (plan.max_norm > 0) {
    const float norm = std::sqrt(kernels().sum_squares(gradient, dim));
    if (norm > plan.max_norm) {
      kernels().scale(gradient, plan.max_norm / norm, dim);
    }
  }
}

}  // namespace rowbank
