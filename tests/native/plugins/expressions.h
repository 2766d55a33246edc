// Implements TensorRT's dimension expressions without TensorRT. Expressions keep their operands, so that they can be
// evaluated again.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <deque>
#include <functional>

class Expression final : public nvinfer1::IDimensionExpr, private nvinfer1::apiv::VDimensionExpr {
 public:
  using Value = std::function<int64_t()>;

  Expression(Value of, bool is_fixed) : value(std::move(of)), fixed(is_fixed) { mImpl = this; }

  const Value value;
  const bool fixed;

 private:
  bool isConstant() const noexcept override { return fixed; }
  int64_t getConstantValue() const noexcept override { return value(); }
  bool isSizeTensor() const noexcept override { return false; }
};

class ExpressionBuilder final : public nvinfer1::IExprBuilder, private nvinfer1::apiv::VExprBuilder {
 public:
  ExpressionBuilder() { mImpl = this; }

  // Adds a dimension whose value is read at evaluation.
  const nvinfer1::IDimensionExpr* unknown(const int64_t& dimension) {
    return add([&dimension] { return dimension; }, false);
  }
  static int64_t value(const nvinfer1::IDimensionExpr* of) { return static_cast<const Expression*>(of)->value(); }

 private:
  using Expr = nvinfer1::IDimensionExpr;
  using Operation = nvinfer1::DimensionOperation;

  const Expr* add(Expression::Value value, bool fixed) { return &made_.emplace_back(std::move(value), fixed); }

  const Expr* constant(int64_t value) noexcept override {
    return add([value] { return value; }, true);
  }
  const Expr* operation(Operation op, const Expr& first, const Expr& second) noexcept override {
    const auto& a = static_cast<const Expression&>(first);
    const auto& b = static_cast<const Expression&>(second);
    return add([op, &a, &b] { return apply(op, a.value(), b.value()); }, a.fixed && b.fixed);
  }
  const Expr* declareSizeTensor(int32_t, const Expr&, const Expr&) noexcept override { return nullptr; }

  static int64_t apply(Operation op, int64_t a, int64_t b) {
    switch (op) {
      case Operation::kSUM:
        return a + b;
      case Operation::kPROD:
        return a * b;
      case Operation::kMAX:
        return a > b ? a : b;
      case Operation::kMIN:
        return a < b ? a : b;
      case Operation::kSUB:
        return a - b;
      case Operation::kEQUAL:
        return a == b;
      case Operation::kLESS:
        return a < b;
      case Operation::kFLOOR_DIV:
        return a / b;
      case Operation::kCEIL_DIV:
        return (a + b - 1) / b;
    }
    return -1;
  }

  std::deque<Expression> made_;
};
