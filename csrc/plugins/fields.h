// Converts between settings and TensorRT's plugin fields.
//
// A plugin names its settings once, in visit(field): field("name", value, kRequired). Visitors read them from ONNX or
// from a plan, write them into a plan, list them and describe them.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "base/errors.h"

namespace trtmatte::plugins {

enum Presence { kOptional, kRequired };

// Calls Visitor::values(name, pointer, count, presence) for numbers and for arrays of them.
template <typename Visitor>
class FieldVisitor {
 public:
  template <typename T>
  void operator()(const char* name, T& value, Presence presence = kOptional) {
    static_cast<Visitor*>(this)->values(name, &value, 1, presence);
  }
  template <typename T, int N>
  void operator()(const char* name, T (&values)[N], Presence presence = kOptional) {
    static_cast<Visitor*>(this)->values(name, values, N, presence);
  }
};

// Reads settings from TensorRT's fields. In ONNX, optional fields may be missing; a plan must have all of them.
class FieldReader : public FieldVisitor<FieldReader> {
 public:
  FieldReader(const nvinfer1::PluginFieldCollection* given, nvinfer1::TensorRTPhase phase)
      : from_plan_(phase == nvinfer1::TensorRTPhase::kRUNTIME) {
    if (!given || given->nbFields < 0 || (given->nbFields > 0 && !given->fields)) {
      throw SettingError("the collection of fields is malformed");
    }
    fields_.assign(given->fields, given->fields + given->nbFields);
  }

  template <typename T>
  void values(const char* name, T* to, int count, Presence presence) {
    const nvinfer1::PluginField* field = take(name);
    if (!field) {
      if (presence == kRequired || from_plan_) throw SettingError(std::string("the field ") + name + " is missing");
      return;
    }
    if (field->length != count || !field->data) {
      throw SettingError(std::string("the field ") + name + " has " + std::to_string(field->length) +
                         " values; expected " + std::to_string(count));
    }
    for (int i = 0; i < count; ++i) to[i] = value<T>(*field, i);
  }

  // Throws if there are fields that the plugin does not have. Call it after the visit.
  void finish() const {
    for (const nvinfer1::PluginField& field : fields_) {
      if (!field.name) throw SettingError("a field has no name");
      bool known = false;
      for (const char* name : known_) known = known || strcmp(name, field.name) == 0;
      if (!known) throw SettingError(std::string("the field ") + field.name + " is unknown");
    }
  }

 private:
  const nvinfer1::PluginField* take(const char* name) {
    known_.push_back(name);
    const nvinfer1::PluginField* found = nullptr;
    for (const nvinfer1::PluginField& field : fields_) {
      if (!field.name || strcmp(field.name, name) != 0) continue;
      if (found) throw SettingError(std::string("the field ") + name + " is given twice");
      found = &field;
    }
    return found;
  }

  template <typename T>
  static T value(const nvinfer1::PluginField& field, int i) {
    using nvinfer1::PluginFieldType;
    if constexpr (std::is_same_v<T, float>) {
      if (field.type == PluginFieldType::kFLOAT32) return item<float>(field, i);
      throw SettingError(std::string("the field ") + field.name + " must be float32");
    } else {
      static_assert(std::is_same_v<T, int32_t>, "settings are int32 or float");
      if (field.type == PluginFieldType::kINT32) return item<int32_t>(field, i);
      if (field.type == PluginFieldType::kINT64) {
        const auto wide = item<int64_t>(field, i);
        if (wide >= INT32_MIN && wide <= INT32_MAX) return static_cast<int32_t>(wide);
      }
      throw SettingError(std::string("the field ") + field.name + " must be int32");
    }
  }

  template <typename T>
  static T item(const nvinfer1::PluginField& field, int i) {
    T result;  // copied, since fields may be unaligned
    memcpy(&result, static_cast<const char*>(field.data) + sizeof(T) * static_cast<size_t>(i), sizeof(T));
    return result;
  }

  bool from_plan_;
  std::vector<nvinfer1::PluginField> fields_;
  std::vector<const char*> known_;
};

// Lists settings as fields that point to them.
struct FieldList : FieldVisitor<FieldList> {
  std::vector<nvinfer1::PluginField> fields;

  template <typename T>
  void values(const char* name, T* from, int count, Presence) {
    constexpr bool is_float = std::is_same_v<T, float>;
    fields.emplace_back(name, from, is_float ? nvinfer1::PluginFieldType::kFLOAT32 : nvinfer1::PluginFieldType::kINT32,
                        count);
  }
  nvinfer1::PluginFieldCollection collection() const {
    return nvinfer1::PluginFieldCollection{static_cast<int32_t>(fields.size()), fields.data()};
  }
};

// Describes settings as text, "height=270 width=480 ...". Different settings give different texts.
struct FieldText : FieldVisitor<FieldText> {
  std::string text;

  template <typename T>
  void values(const char* name, T* from, int count, Presence) {
    text += (text.empty() ? "" : " ") + std::string(name);
    for (int i = 0; i < count; ++i) text += (i ? "," : "=") + exact(from[i]);
  }

 private:
  static std::string exact(int32_t value) { return std::to_string(value); }
  static std::string exact(float value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.9g", static_cast<double>(value));
    return digits;
  }
};

}  // namespace trtmatte::plugins
