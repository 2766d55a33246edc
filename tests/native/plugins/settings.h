// Plugin fields that own their values, and a logger that stores its messages.
#pragma once

#include <NvInferRuntime.h>

#include <cstring>
#include <list>
#include <string>
#include <vector>

class Settings {
 public:
  using Type = nvinfer1::PluginFieldType;

  Settings() = default;
  explicit Settings(const nvinfer1::PluginFieldCollection& of) {
    for (int i = 0; i < of.nbFields; ++i) {
      const nvinfer1::PluginField& field = of.fields[i];
      add(field.name, field.data, field.type, field.length, 4);
    }
  }

  Settings& ints(const char* name, std::vector<int32_t> values) {
    return add(name, values.data(), Type::kINT32, static_cast<int>(values.size()), 4);
  }
  Settings& longs(const char* name, std::vector<int64_t> values) {
    return add(name, values.data(), Type::kINT64, static_cast<int>(values.size()), 8);
  }
  Settings& floats(const char* name, std::vector<float> values) {
    return add(name, values.data(), Type::kFLOAT32, static_cast<int>(values.size()), 4);
  }
  Settings& without(const std::string& name) {
    entries_.remove_if([&](const Entry& entry) { return entry.name == name; });
    return *this;
  }
  Settings& with(const Settings& others) {
    for (const Entry& entry : others.entries_) {
      without(entry.name);
      entries_.push_back(entry);
    }
    return *this;
  }
  Settings& twice(const std::string& name) {
    for (const Entry& entry : std::list<Entry>(entries_)) {
      if (entry.name == name) entries_.push_back(entry);
    }
    return *this;
  }

  // The result is valid until the settings change.
  nvinfer1::PluginFieldCollection collection() {
    fields_.clear();
    for (const Entry& entry : entries_) {
      fields_.emplace_back(entry.name.c_str(), entry.bytes.data(), entry.type, entry.length);
    }
    return nvinfer1::PluginFieldCollection{static_cast<int32_t>(fields_.size()), fields_.data()};
  }

  bool operator==(const Settings& other) const {
    const auto same = [](const Entry& a, const Entry& b) {
      return a.name == b.name && a.type == b.type && a.bytes == b.bytes;
    };
    return entries_.size() == other.entries_.size() &&
           std::equal(entries_.begin(), entries_.end(), other.entries_.begin(), same);
  }

 private:
  struct Entry {
    std::string name;
    std::vector<char> bytes;
    Type type;
    int length;
  };

  Settings& add(const char* name, const void* data, Type type, int length, size_t item) {
    const auto* bytes = static_cast<const char*>(data);
    entries_.push_back(Entry{name, {bytes, bytes + item * static_cast<size_t>(length)}, type, length});
    return *this;
  }

  std::list<Entry> entries_;
  std::vector<nvinfer1::PluginField> fields_;
};

class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity == Severity::kERROR) messages.emplace_back(message);
  }
  bool heard(const std::string& plugin, const std::string& text) const {
    return !messages.empty() && messages.back().rfind(plugin + ": ", 0) == 0 &&
           messages.back().find(text) != std::string::npos;
  }
  std::vector<std::string> messages;
};

class LogFinder final : public nvinfer1::ILoggerFinder {
 public:
  explicit LogFinder(Log& log) : log_(log) {}
  nvinfer1::ILogger* findLogger() override { return &log_; }

 private:
  Log& log_;
};
