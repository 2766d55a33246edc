// Mattes raw frames with a plan of `trtmatte-build --export plan --outputs rgba`:
//
//   ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | matte rvm.plan libtrtmatte_plugins.so > frames.rgba
//
// BackgroundMattingV2 takes the plate, a raw RGB picture of the same size, as a third argument.
#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Logger final : nvinfer1::ILogger {
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kWARNING) std::cerr << message << "\n";
  }
};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

void cuda(cudaError_t status) { require(status == cudaSuccess, cudaGetErrorString(status)); }

std::vector<char> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  require(file.good(), std::string("cannot read ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void run(const char* plan_path, const char* plugins, const char* plate_path) {
  Logger logger;  // outlives all else
  const std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
  require(runtime->getPluginRegistry().loadLibrary(plugins), "the plugins cannot be loaded");
  const std::vector<char> plan = read_file(plan_path);
  const std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime->deserializeCudaEngine(plan.data(), plan.size()));
  require(engine != nullptr, "the plan does not fit this TensorRT or this device");
  const std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext());

  // Zeroed memory for every tensor: RVM's states begin as zeros.
  std::map<std::string, std::pair<void*, size_t>> tensors;
  for (int i = 0; i < engine->getNbIOTensors(); ++i) {
    const char* name = engine->getIOTensorName(i);
    const nvinfer1::Dims shape = engine->getTensorShape(name);
    const nvinfer1::DataType type = engine->getTensorDataType(name);
    size_t bytes = type == nvinfer1::DataType::kUINT8 ? 1 : type == nvinfer1::DataType::kHALF ? 2 : 4;
    for (int d = 0; d < shape.nbDims; ++d) bytes *= static_cast<size_t>(shape.d[d]);
    void* memory = nullptr;
    cuda(cudaMalloc(&memory, bytes));
    cuda(cudaMemset(memory, 0, bytes));
    tensors[name] = {memory, bytes};
  }
  require(tensors.count("frame") && tensors.count("rgba"),
          "the plan has no frame and rgba: build it with --outputs rgba");
  require(tensors.count("plate") == (plate_path ? 1 : 0),
          plate_path ? "the plan has no plate: leave out the third argument" : "the plan needs a PLATE");
  if (plate_path) {
    const std::vector<char> picture = read_file(plate_path);
    require(picture.size() == tensors["plate"].second, "the plate has " + std::to_string(picture.size()) +
                                                           " bytes; expected raw RGB of the frame's size, " +
                                                           std::to_string(tensors["plate"].second) + " bytes");
    cuda(cudaMemcpy(tensors["plate"].first, picture.data(), picture.size(), cudaMemcpyHostToDevice));
  }

  cudaStream_t stream;
  cuda(cudaStreamCreate(&stream));
  std::vector<char> frame(tensors["frame"].second), rgba(tensors["rgba"].second);
  while (std::cin.read(frame.data(), static_cast<std::streamsize>(frame.size()))) {
    for (const auto& [name, tensor] : tensors) require(context->setTensorAddress(name.c_str(), tensor.first), name);
    cuda(cudaMemcpyAsync(tensors["frame"].first, frame.data(), frame.size(), cudaMemcpyHostToDevice, stream));
    require(context->enqueueV3(stream), "the plan does not run");
    cuda(cudaMemcpyAsync(rgba.data(), tensors["rgba"].first, rgba.size(), cudaMemcpyDeviceToHost, stream));
    cuda(cudaStreamSynchronize(stream));
    std::cout.write(rgba.data(), static_cast<std::streamsize>(rgba.size()));
    // The states r1o … r4o are the next frame's r1i … r4i. They stay where they are; the names change places.
    for (const char* state : {"r1", "r2", "r3", "r4"}) {
      const std::string in = std::string(state) + "i", out = std::string(state) + "o";
      if (tensors.count(in)) std::swap(tensors[in], tensors[out]);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  require(argc == 3 || argc == 4, "usage: matte PLAN PLUGINS [PLATE] < frames.rgb > frames.rgba");
  run(argv[1], argv[2], argc == 4 ? argv[3] : nullptr);
} catch (const std::exception& error) {
  std::cerr << "matte: " << error.what() << "\n";
  return 1;
}
