// Lives of plugins in a registry of TensorRT, which the caller has loaded: each node of a file becomes a plugin, which
// is cloned, written into a plan and read back.
//
// A line of the file is a node: its op, then its attributes as name=int:1,2,3 or name=float:0.5.
#include <fstream>
#include <sstream>

#include "host.h"

namespace {

enum class Width { k32, k64 };

template <typename T>
std::vector<T> numbers(const std::string& text) {
  std::vector<T> values;
  std::istringstream stream(text);
  for (std::string each; std::getline(stream, each, ',');) values.push_back(static_cast<T>(std::stod(each)));
  return values;
}

// TensorRT's parser hands integers over in one width or the other.
Settings settings_of(std::istringstream& node, Width width) {
  Settings settings;
  for (std::string attribute; node >> attribute;) {
    const size_t equals = attribute.find('='), colon = attribute.find(':');
    const std::string name = attribute.substr(0, equals), kind = attribute.substr(equals + 1, colon - equals - 1);
    const std::string values = attribute.substr(colon + 1);
    if (kind == "float") {
      settings.floats(name.c_str(), numbers<float>(values));
    } else if (width == Width::k32) {
      settings.ints(name.c_str(), numbers<int32_t>(values));
    } else {
      settings.longs(name.c_str(), numbers<int64_t>(values));
    }
  }
  return settings;
}

void live_once(Creator& creator, const Settings& settings, const std::string& node) {
  const auto described = [](const Plugin& plugin) { return std::string(build_of(plugin)->getTimingCacheID()); };
  const auto stored = [](const Plugin& plugin) { return Settings(*runtime_of(plugin)->getFieldsToSerialize()); };
  Plugin made = make(creator, settings);
  if (!expect(made != nullptr, node + ": made of its node")) return;
  const std::string description = described(made);
  const Settings fields = stored(made);
  Plugin clone(made->clone());
  made.reset();
  if (expect(clone != nullptr, node + ": cloned")) {
    expect(described(clone) == description && stored(clone) == fields, node + ": its clone is the same");
  }
  const Plugin loaded = make(creator, fields, TensorRTPhase::kRUNTIME);
  if (!expect(loaded != nullptr, node + ": read from a plan")) return;
  expect(described(loaded) == description && stored(loaded) == fields, node + ": the same after the plan");
  const Plugin attached(runtime_of(loaded)->attachToContext(nullptr));
  expect(attached != nullptr && stored(attached) == fields, node + ": attached to a context");
}

}  // namespace

// Returns the number of lives, or -1 if a check failed, which it prints.
extern "C" __attribute__((visibility("default"))) int32_t plugin_lives(nvinfer1::IPluginRegistry* registry,
                                                                       const char* file) {
  int32_t lives = 0;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    for (const Width width : {Width::k32, Width::k64}) {
      std::istringstream node(line);
      std::string op;
      node >> op;
      auto* creator = static_cast<Creator*>(registry->getCreator(op.c_str(), "1", "trtmatte"));
      if (!expect(creator != nullptr, op + " is in the registry")) return -1;
      live_once(*creator, settings_of(node, width), line);
      ++lives;
    }
  }
  fflush(stdout);
  return failures ? -1 : lives;
}
