"""Checkpoints of other formats, made by the tools that people make them with, and what a reference computes with them.

Made with Python 3.11, torch 2.15, transformers 5.24, peft 0.21.2, compressed-tensors 0.20.0, auto-gptq 0.7.1,
autoawq 0.2.9 and auto-round 0.16.1 on a CPU. Each file holds only what differs from ../tiny-untied (or ../tiny-tied): the tensors that a tool
wrote, under `checkpoint.` or `adapter.`; the weights as the tool itself reads them, under `weights.` (quantised formats,
f32, some of them); and the logits of transformers in f32, under `logits.` with the name of the case. What config.json or
adapter_config.json has to say stands in the metadata. Usage: python make.py NAME...
"""

import base64, copy, importlib.machinery, importlib.util, json, math, sys, tempfile, types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

HERE = Path(__file__).parent
CASES = ["text", "one_image"]
torch.manual_seed(1)


def bare(*packages):
    """Packages without what their __init__ imports: transformers has moved on, and only one module is wanted."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        module = types.ModuleType(package)
        module.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = module


def base(name):
    """The golden model in f32, and the names of its tensors as they are stored."""
    directory = HERE.parent / name
    config = Qwen3VLConfig(**json.loads((directory / "config.json").read_text()))
    config._attn_implementation = "eager"
    model = Qwen3VLForConditionalGeneration(config).float().eval()
    weights = {key: value.float() for key, value in load_file(directory / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all("lm_head" in key or "inv_freq" in key for key in missing), (missing, unexpected)
    model.tie_weights()
    return model, weights


def logits(model, name):
    """Of every position; the first use of a base is compared with the logits that it already has."""
    expected = json.loads((HERE.parent / name / "expected.json").read_text())
    found = {}
    for case in CASES:
        given = expected[case]
        inputs = {"input_ids": torch.tensor([given["input_ids"]])}
        if given["image_grid_thw"]:
            pixels = np.frombuffer(base64.b64decode(given["pixel_values_f32_b64"]), np.float32).copy()
            inputs["pixel_values"] = torch.tensor(pixels).reshape(-1, 1536)
            inputs["image_grid_thw"] = torch.tensor(given["image_grid_thw"])
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == 250).int()
        with torch.no_grad():
            found[case] = model(**inputs).logits[0].float().contiguous()
    return found


def check_base(name):
    model, _ = base(name)
    expected = json.loads((HERE.parent / name / "expected.json").read_text())
    for case, values in logits(model, name).items():
        golden = np.frombuffer(base64.b64decode(expected[case]["logits_f32_b64"]), np.float32)
        difference = np.abs(values.numpy().ravel() - golden).max()
        assert difference < 1e-4, (case, difference)


def linears(model, part="language_model"):
    """Linear layers, by the name of their module as checkpoints spell it."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and part in name}


def save(file, base_name, tensors, settings, results, weights={}):
    everything = {**tensors, **{f"logits.{case}": value for case, value in results.items()},
                  **{f"weights.{name}": value.float().contiguous() for name, value in weights.items()}}
    metadata = {"base": base_name, "settings": json.dumps(settings)}
    save_file({key: value.detach().clone().contiguous() for key, value in everything.items()},
              HERE / f"{file}.safetensors", metadata)


def quantised(file, pack, settings, part="language_model"):
    """pack(name, linear) -> stored tensors, and the f32 weight that the tool reads from them."""
    name = "tiny-untied"
    model, _ = base(name)
    stored, weights = {}, {}
    for module_name, module in linears(model, part).items():
        parts, weight = pack(module_name, module)
        stored.update({f"checkpoint.{module_name}.{ending}": value for ending, value in parts.items()})
        module.weight.data = weight.float()
        if "layers.0" in module_name or "blocks.0" in module_name:
            weights[f"{module_name}.weight"] = weight
    save(file, name, stored, settings, logits(model, name), weights)


def small(file, packs, settings):
    """One weight for each entry of packs, without logits: a few KB that hold what is special about a format."""
    model, _ = base("tiny-untied")
    stored, weights = {}, {}
    for module_name, pack in packs.items():
        name = f"model.language_model.layers.0.self_attn.{module_name}"
        parts, weight = pack(name, model.get_submodule(name))
        stored.update({f"checkpoint.{name}.{ending}": value for ending, value in parts.items()})
        weights[f"{name}.weight"] = weight
    save(file, "tiny-untied", stored, settings, {}, weights)


def fp8_exponents():
    """Scales that are powers of two, stored as their exponents alone (scale_fmt ue8m0)."""
    size = 32
    def pack(_, linear):
        rows, columns = linear.weight.shape
        blocks = linear.weight.data.reshape(rows // size, size, columns // size, size)
        scale = torch.exp2((blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e5m2).max).log2().ceil()).to(torch.float8_e8m0fnu)
        levels = (blocks / scale.float()[:, None, :, None]).reshape(rows, columns).to(torch.float8_e5m2)
        spread = scale.float().repeat_interleave(size, 0).repeat_interleave(size, 1)
        return {"weight": levels, "weight_scale_inv": scale}, levels.float() * spread
    small("fp8-exponents", {"k_proj": pack}, {"quant_method": "fp8", "fmt": "e5m2", "scale_fmt": "ue8m0", "activation_scheme": "dynamic",
                                               "weight_block_size": [size, size]})


def fp8():
    size = 32
    def pack(_, linear):
        weight = linear.weight.data
        rows, columns = weight.shape
        down, across = math.ceil(rows / size), math.ceil(columns / size)
        padded = torch.nn.functional.pad(weight, (0, across * size - columns, 0, down * size - rows))
        blocks = padded.reshape(down, size, across, size)
        scale = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
        levels = (blocks / scale[:, None, :, None]).reshape(padded.shape)[:rows, :columns].to(torch.float8_e4m3fn)
        spread = scale.repeat_interleave(size, 0).repeat_interleave(size, 1)[:rows, :columns]
        return {"weight": levels, "weight_scale_inv": scale}, levels.float() * spread
    quantised("fp8", pack, {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                            "weight_block_size": [size, size], "modules_to_not_convert": ["visual", "lm_head"]})


def groups(weight, size):
    """Scales and zero points (rows, groups) of asymmetric 4-bit groups."""
    grouped = weight.reshape(weight.shape[0], -1, size)
    low, high = grouped.amin(2).clamp(max=0), grouped.amax(2).clamp(min=0)
    scale = ((high - low) / 15).half().float()
    return scale, (-low / scale).round().clamp(1, 15)


def auto_round():
    """Asymmetric, in the packing of AutoGPTQ (zero points less one), and one module with groups of another size."""
    from unittest.mock import MagicMock
    sys.modules["datasets"] = MagicMock(__spec__=importlib.machinery.ModuleSpec("datasets", None), __path__=[])
    from auto_round_extension.torch.qlinear_torch_zp import QuantLinear
    def packing(size):
        def pack(_, linear):
            scale, zero = groups(linear.weight.data, size)
            layer = QuantLinear(4, size, linear.in_features, linear.out_features, False)
            layer.pack(copy.deepcopy(linear), scale.clone(), zero.clone(), None)
            layer.eval()
            with torch.no_grad():
                layer.scales, layer.bias = layer.scales.float(), None
                read = layer(torch.eye(linear.in_features)).t()
            return {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales.half()}, read
        return pack
    small("auto-round", {"k_proj": packing(32), "v_proj": packing(16)},
          {"quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": False, "data_type": "int", "packing_format": "auto_round:auto_gptq",
           "extra_config": {"model.language_model.layers.0.self_attn.v_proj": {"bits": 4, "group_size": 16}, "lm_head": {"bits": 16}}})


def gptq(act_order):
    bare("auto_gptq", "auto_gptq.nn_modules", "auto_gptq.nn_modules.qlinear")
    from auto_gptq.nn_modules.qlinear.qlinear_cuda import QuantLinear
    size = 32
    generator = torch.Generator().manual_seed(7)
    orders = {}
    def pack(name, linear):
        weight = linear.weight.data
        columns = weight.shape[1]
        if act_order:  # the products of one input share its order, as they share its Hessian
            key = name.rsplit(".", 2)[0] + name.replace("k_proj", "q_proj").replace("v_proj", "q_proj").replace("up_proj", "gate_proj")
            order = orders.setdefault(key, torch.randperm(columns, generator=generator))
        else:
            order = torch.arange(columns)
        g_idx = torch.empty(columns, dtype=torch.int32)
        g_idx[order] = (torch.arange(columns) // size).int()
        scale, zero = groups(weight[:, order], size)
        layer = QuantLinear(4, size, columns, weight.shape[0], False, weight_dtype=torch.float16)
        layer.pack(copy.deepcopy(linear), scale.clone(), zero.clone(), g_idx)
        layer.eval()
        with torch.no_grad():  # the tool's own product with the unit matrix
            layer.scales, layer.bias = layer.scales.float(), None
            read = layer(torch.eye(columns, dtype=torch.float32)).t()
        parts = {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales.half(), "g_idx": layer.g_idx}
        return parts, read
    quantised("gptq-act-order" if act_order else "gptq", pack,
              {"quant_method": "gptq", "bits": 4, "group_size": size, "desc_act": act_order, "sym": False,
               "checkpoint_format": "gptq"})


def awq():
    bare("awq", "awq.modules", "awq.modules.linear", "awq.utils")
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm
    size = 32
    def pack(_, linear):
        scale, zero = groups(linear.weight.data, size)
        layer = WQLinear_GEMM.from_linear(copy.deepcopy(linear), 4, size, False, scale.t().contiguous(), zero.t().contiguous())
        read = dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.float(), 4, size).t()
        return {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales}, read
    quantised("awq", pack, {"quant_method": "awq", "bits": 4, "group_size": size, "zero_point": True, "version": "gemm",
                            "modules_to_not_convert": ["visual"]})


def compressed(file, arguments, ending):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    weights_arguments = QuantizationArgs(**arguments)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights_arguments)
    compressor = BaseCompressor.load_from_registry(ending)
    size = arguments.get("group_size") or None
    def pack(_, linear):
        weight = linear.weight.data
        whole = weight.shape[1] if size is None else size
        if arguments["symmetric"]:
            top = 448 if arguments["type"] == "float" else 7
            scale = weight.reshape(weight.shape[0], -1, whole).abs().amax(2) / top
            parts = {"weight": weight, "weight_scale": scale.bfloat16().float()}
        else:
            scale, zero = groups(weight, whole)
            parts = {"weight": weight, "weight_scale": scale, "weight_zero_point": (zero - 8).to(torch.int8)}
        stored = compressor.compress(dict(parts), scheme)
        read = compressor.decompress(dict(stored), scheme)["weight"]
        return {key: value for key, value in stored.items() if torch.is_tensor(value)}, read
    quantised(file, pack, {"quant_method": "compressed-tensors", "format": ending, "ignore": ["lm_head"],
                           "config_groups": {"group_0": {"targets": ["Linear"], "weights": arguments}}})


def compressed_bytes(file, ending, arguments):
    """8 bits with whatever shares a scale; the compressor packs and reads, the scales are of the least and largest values."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams
    weights_arguments = QuantizationArgs(**arguments)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights_arguments)
    compressor = BaseCompressor.load_from_registry(ending)
    def pack(_, linear):
        weight = linear.weight.data
        rows, columns = weight.shape
        down, across = arguments.get("block_structure") or [1, arguments.get("group_size") or columns]
        # Beyond the edge lie zeros.
        padded = torch.nn.functional.pad(weight, (0, -columns % across, 0, -rows % down))
        blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
        scale, zero = calculate_qparams(blocks.amin((1, 3)), blocks.amax((1, 3)), weights_arguments)
        parts = {"weight": weight, "weight_scale": scale} if arguments["symmetric"] else {"weight": weight, "weight_scale": scale, "weight_zero_point": zero.to(torch.int8)}
        stored = compressor.compress(dict(parts), scheme)
        read = compressor.decompress(dict(stored), scheme)["weight"]
        # As a checkpoint with activations and a cache in 8 bits has them.
        extra = {"input_scale": torch.tensor([0.5]), "k_scale": torch.tensor([0.25])}
        return {**{key: value for key, value in stored.items() if torch.is_tensor(value)}, **extra}, read
    small(file, {"k_proj": pack}, {"quant_method": "compressed-tensors", "format": ending, "ignore": ["lm_head"],
                                   "config_groups": {"group_0": {"targets": ["Linear"], "weights": arguments}}})


def lora(file, base_name, seed, **arguments):
    from peft import LoraConfig, get_peft_model
    model, _ = base(base_name)
    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **arguments)
    adapted = get_peft_model(model, config).eval()
    for name, value in adapted.named_parameters():
        if any(part in name for part in ["lora_", "modules_to_save"]) or (value.requires_grad and name.endswith("bias")):
            spread = 0.02 if "magnitude" in name or "modules_to_save" in name or name.endswith("bias") else 0.15
            value.data += torch.randn_like(value) * spread
    directory = Path(tempfile.mkdtemp())
    adapted.save_pretrained(directory)
    tensors = {f"adapter.{key}": value for key, value in load_file(directory / "adapter_model.safetensors").items()}
    settings = json.loads((directory / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = None
    save(file, base_name, tensors, settings, logits(adapted.get_base_model(), base_name))


MAKERS = {
    "fp8": fp8,
    "gptq": lambda: gptq(False),
    "gptq-act-order": lambda: gptq(True),
    "awq": awq,
    "packed-groups": lambda: compressed("packed-groups", {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32}, "pack-quantized"),
    "packed-rows": lambda: compressed("packed-rows", {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "channel"}, "pack-quantized"),
    "float-rows": lambda: compressed("float-rows", {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}, "float-quantized"),
    "fp8-exponents": fp8_exponents,
    "auto-round": auto_round,
    "packed-bytes": lambda: compressed_bytes("packed-bytes", "pack-quantized", {"num_bits": 8, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32}),
    "int-rows": lambda: compressed_bytes("int-rows", "int-quantized", {"num_bits": 8, "type": "int", "symmetric": False, "strategy": "channel"}),
    "float-groups": lambda: compressed_bytes("float-groups", "naive-quantized", {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "group", "group_size": 16}),
    "float-blocks": lambda: compressed_bytes("float-blocks", "float-quantized", {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "block", "block_structure": [24, 40]}),
    # Decoder, vision encoder, mergers, the patch embedding (a convolution) and the head, each with ranks of its own.
    "lora": lambda: lora("lora", "tiny-untied", 2, r=4, lora_alpha=6, bias="lora_only", rank_pattern={"q_proj": 2}, alpha_pattern={"gate_proj": 16},
                         target_modules=["q_proj", "v_proj", "gate_proj", "down_proj", "qkv", "linear_fc1", "linear_fc2", "patch_embed.proj", "lm_head"]),
    "lora-rs": lambda: lora("lora-rs", "tiny-untied", 3, r=4, lora_alpha=2, use_rslora=True, target_modules="all-linear",
                            modules_to_save=["merger"]),
    "dora": lambda: lora("dora", "tiny-untied", 4, r=4, lora_alpha=8, use_dora=True, target_modules=["q_proj", "o_proj", "up_proj", "attn.proj"]),
    # Alphas by regular expressions, the first that fits; the last layer keeps its own.
    "lora-patterns": lambda: lora("lora-patterns", "tiny-untied", 7, r=2, lora_alpha=4, target_modules=["k_proj"],
                                  alpha_pattern={r"^model\.language_model\.layers\.[01]\..*": 24, r"layers\.(?:1|2)\.self_attn\.k_proj": -9}),
    # The embeddings are tied in the base and are not in the adapted model.
    "lora-embedding": lambda: lora("lora-embedding", "tiny-tied", 5, r=4, lora_alpha=8, target_modules=["embed_tokens", "k_proj"]),
    "lora-head": lambda: lora("lora-head", "tiny-tied", 6, r=4, lora_alpha=8, target_modules=["k_proj"], modules_to_save=["lm_head"]),
}

if __name__ == "__main__":
    for name in ["tiny-untied", "tiny-tied"]:
        check_base(name)
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name]()
        print(name, (HERE / f"{name}.safetensors").stat().st_size)
