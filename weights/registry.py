"""Every weight that Mien can use: where it comes from, under which licence, where it lies on this machine.

A new checkpoint is one entry. Nothing here downloads or loads anything.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

from . import places
from .errors import WeightsError

EMBEDDED = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class FileFacts:
    """What is known of a published file; None where it is not."""

    size: int | None = None  # bytes
    sha256: str | None = None


@dataclass(frozen=True)
class WeightRecord:
    """One set of weights.

    files: names relative to `folder`, or paths in `repository`. package: the Python package that brings the files, None
    when they lie in `folder` as it stands. extra: the optional dependency (`pip install 'mien[extra]'`) that is needed.
    origin: "trained here", "inside PACKAGE" or "download". repository, revision: on Hugging Face; such files, and those
    whose `folder` is None, are looked for as `weights.places` says. facts: size and checksum, by file.
    """

    name: str
    purpose: str
    files: tuple[str, ...]
    licence: str
    source: str
    origin: str
    folder: str | Path | None = EMBEDDED
    package: str | None = None
    extra: str | None = None
    commercial_use: bool = True
    repository: str | None = None
    revision: str = "main"
    facts: dict[str, FileFacts] = field(default_factory=dict, hash=False)

    @property
    def path(self) -> Path | None:
        """The folder of the files on this machine, or where they belong; None when their package is not installed."""
        if self.repository is not None or self.folder is None:
            found = self.find(self.files[0])
            return places.own_root() / self.name if found is None else _folder_of(found, self.files[0])
        if self.package is None:
            return Path(self.folder).expanduser()
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations))) / self.folder

    def find(self, file: str, given: str | Path | None = None) -> Path | None:
        """Where one of the files lies, or None; `given` is a folder to look into first."""
        if self.repository is not None or self.folder is None:
            return places.find_file(self.name, file, self.repository, self.revision, given)
        folder = self.path
        return folder / file if folder is not None and (folder / file).is_file() else None

    @property
    def missing(self) -> tuple[str, ...]:
        """The files that are not on this machine."""
        return tuple(file for file in self.files if self.find(file) is None)

    @property
    def available(self) -> bool:
        return not self.missing


RECORDS = (
    WeightRecord(
        name="mini",
        purpose="the embedded diffusion model that draws the frames",
        files=(
            "mini/model_index.json",
            "mini/unet/config.json",
            "mini/unet/diffusion_pytorch_model.safetensors",
            "mini/README.md",
        ),
        licence="Apache-2.0",
        source="trained by animate.train; the model card lists the training data and its licences",
        origin="trained here",
    ),
    WeightRecord(
        name="prior",
        purpose="textures of the mouth's inside for animate.prior",
        files=("mouth_table.safetensors",),
        licence="Apache-2.0",
        source="medians over the training clips, built by animate.prior",
        origin="trained here",
    ),
    WeightRecord(
        name="talk",
        purpose="speech to the movements of the lower face (mien talk, mien dub)",
        files=(
            "talk/config.json",
            "talk/diffusion_pytorch_model.safetensors",
            "talk/basis.safetensors",
            "talk/visemes.safetensors",
            "talk/README.md",
        ),
        licence="Apache-2.0",
        source="trained by talking_face.train; the model card lists the training data and its licences",
        origin="trained here",
    ),
    WeightRecord(
        name="canonical-face",
        purpose="the mean face that poses are measured against",
        files=("canonical_face.safetensors",),
        licence="Apache-2.0",
        source="Procrustes mean over CC0 portraits, built by animate.pose",
        origin="trained here",
    ),
    WeightRecord(
        name="face-mesh",
        purpose="the triangles of the 478-point mesh",
        files=("face_mesh.safetensors",),
        licence="Apache-2.0",
        source="Google MediaPipe's face mesh topology",
        origin="trained here",
    ),
    WeightRecord(
        name="arkit-basis",
        purpose="the linear map between ARKit's 52 curves and landmark offsets",
        files=("arkit_basis.safetensors",),
        licence="Apache-2.0",
        source="least squares over the training clips, built by animate.arkit",
        origin="trained here",
    ),
    WeightRecord(
        name="mediapipe",
        purpose="face detection, face mesh with irises, person mask (offline)",
        files=(
            "face_detection/face_detection_short_range.tflite",
            "face_detection/face_detection_full_range_sparse.tflite",
            "face_landmark/face_landmark_with_attention.tflite",
            "selfie_segmentation/selfie_segmentation.tflite",
        ),
        licence="Apache-2.0",
        source="Google MediaPipe 0.10.21, the last wheel that carries its models",
        origin="inside mediapipe",
        package="mediapipe",
        folder="modules",
    ),
    WeightRecord(
        name="face-landmarker",
        purpose="face mesh for mediapipe 0.10.30 and newer (Tasks API)",
        files=("face_landmarker.task",),
        licence="Apache-2.0",
        source="Google MediaPipe model page, Face Landmarker",
        origin="download",
        folder="~/.cache/mien",
    ),
    WeightRecord(
        name="dlib-recognition",
        purpose="the identity column of the benchmark",
        files=("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"),
        licence="CC0-1.0",
        source="dlib's model collection, in the package face-recognition-models",
        origin="inside face-recognition-models",
        package="face_recognition_models",
        folder="models",
        extra="bench",
    ),
    WeightRecord(
        name="insightface-buffalo_l",
        purpose="optional face detector and recognition (choosing a face by a reference picture)",
        files=("det_10g.onnx", "w600k_r50.onnx"),
        licence="non-commercial research only",
        source="InsightFace model zoo, buffalo_l",
        origin="download",
        folder="~/.insightface/models/buffalo_l",
        extra="faces",
        commercial_use=False,
    ),
    WeightRecord(
        name="face-alignment",
        purpose="optional face detector and 68 landmarks",
        files=("2DFAN4-cd938726ad.zip", "s3fd-619a316812.pth"),
        licence="BSD-3-Clause (code); trained on data sets for research use",
        source="face-alignment's release files",
        origin="download",
        folder="~/.cache/torch/hub/checkpoints",
        extra="faces",
        commercial_use=False,
    ),
    WeightRecord(
        name="follow-your-emoji",
        purpose="the large model, 512 px, for a GPU, as its authors published it",
        files=("ckpts/unet.pth", "ckpts/referencenet.pth", "ckpts/lmk_guider.pth"),
        licence="not stated by its authors (all rights reserved)",
        source="Ma et al., Follow-Your-Emoji, SIGGRAPH Asia 2024",
        origin="download",
        commercial_use=False,
        repository="YueMafighting/FollowYourEmoji",
        revision="9ed674986c27cfa77f7962702f67dbb84b081492",
        facts={
            "ckpts/unet.pth": FileFacts(5259498847, "05daa70ff3ba33cb0c9236328ee17ca86fe7740f6d8efd62fcb64742576d0a95"),
            "ckpts/referencenet.pth": FileFacts(
                3432105537, "e7e51f2f4e2a4366879e62d3686d7f6f601d5139c741949395a23836a213bd37"
            ),
            "ckpts/lmk_guider.pth": FileFacts(
                4351337, "6ee3b936c081966c5a5d7007f5c3e5901a76c802ae9cc9a6d820964c39cafcd5"
            ),
        },
    ),
    WeightRecord(
        name="follow-your-emoji-fp16",
        purpose="the same in half precision and as safetensors: half the download",
        files=("FYE_unet-fp16.safetensors", "FYE_referencenet-fp16.safetensors", "FYE_lmk_guider.safetensors"),
        licence="not stated by its authors (all rights reserved)",
        source="a mirror of Follow-Your-Emoji's files",
        origin="download",
        commercial_use=False,
        repository="Kijai/FollowYourEmoji-safetensors",
        revision="df6c6c02b527fb75fcabe9fa6b18bc58e35c7532",
        facts={
            "FYE_unet-fp16.safetensors": FileFacts(
                2629630648, "e87616e26cbf76a6d899218147c8a2e3a45a1a821d34f063ca4ddd8eac52cbaf"
            ),
            "FYE_referencenet-fp16.safetensors": FileFacts(
                1715993760, "98674b461cac1e00f78ad939e7db27bdcec3fd2e97b8c9559adaab10b649566e"
            ),
            "FYE_lmk_guider.safetensors": FileFacts(
                4347232, "84ea7cac45e84937af25c7dd7fc34072baf54632a3eaf50ccb4682d0968ff41e"
            ),
        },
    ),
    WeightRecord(
        name="aniportrait",
        purpose="another model of the same family, 512 px, for a GPU",
        files=("denoising_unet.pth", "reference_unet.pth", "pose_guider.pth", "motion_module.pth"),
        licence="Apache-2.0",
        source="Wei et al., AniPortrait, arXiv 2403.17694",
        origin="download",
        repository="ZJYang/AniPortrait",
        revision="1e35ff4b88eb5b8420ddc6aa43302fededcf3d9a",
        facts={
            "denoising_unet.pth": FileFacts(sha256="ddc4990e0d33dd5393190e8609fd7b32bfc0b5c386763624a3bff8038e0c054c"),
            "motion_module.pth": FileFacts(sha256="954aee616a81f143e0316d210445d1933cca05a397c760661b7046738c4c1f06"),
        },
    ),
    WeightRecord(
        name="fantasy-portrait",
        purpose="several characters by expression, up to 720p, for a GPU: tokens and adapter for wan-i2v-720p",
        files=("fantasyportrait_model.ckpt",),
        licence="Apache-2.0",
        source="Wang et al., FantasyPortrait, arXiv 2507.12956",
        origin="download",
        repository="acvlab/FantasyPortrait",
    ),
    WeightRecord(
        name="wan-i2v-720p",
        purpose="the video transformer, autoencoder, image and text encoder that fantasy-portrait works in",
        files=(
            "model_index.json",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
            "image_encoder/config.json",
            "image_encoder/model.safetensors",
            "image_processor/preprocessor_config.json",
            "tokenizer/special_tokens_map.json",
            "tokenizer/spiece.model",
            "tokenizer/tokenizer.json",
            "tokenizer/tokenizer_config.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors.index.json",
            *(f"text_encoder/model-{number:05}-of-00005.safetensors" for number in range(1, 6)),
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.safetensors.index.json",
            *(f"transformer/diffusion_pytorch_model-{number:05}-of-00014.safetensors" for number in range(1, 15)),
        ),
        licence="Apache-2.0",
        source="Wan team, Wan2.1 image to video 14B 720p, arXiv 2503.20314",
        origin="download",
        repository="Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
    ),
    WeightRecord(
        name="pd-fgc",
        purpose="expression features of a driving video for fantasy-portrait",
        files=("pd_fpg.pth",),
        licence="CC-BY-4.0 (PD-FGC, attribution)",
        source="Wang et al., PD-FGC, arXiv 2211.14506, as FantasyPortrait publishes it",
        origin="download",
        repository="acvlab/FantasyPortrait",
    ),
    WeightRecord(
        name="animatediff",
        purpose="motion modules to begin the training of the large model's second stage with",
        files=("mm_sd_v15_v2.ckpt",),
        licence="Apache-2.0",
        source="Guo et al., AnimateDiff, arXiv 2307.04725",
        origin="download",
        repository="guoyww/animatediff",
        facts={
            "mm_sd_v15_v2.ckpt": FileFacts(
                1817888431, "69ed0f5fef82b110aca51bcab73b21104242bc65d6ab4b8b2a2a94d31cad1bf0"
            ),
        },
    ),
    WeightRecord(
        name="sd-image-variations",
        purpose="the large model's image encoder, CLIP ViT-L/14",
        files=("image_encoder/config.json", "image_encoder/pytorch_model.bin"),
        licence="CreativeML OpenRAIL-M (uses that harm are excluded)",
        source="Lambda Labs, Stable Diffusion Image Variations",
        origin="download",
        repository="lambdalabs/sd-image-variations-diffusers",
    ),
    WeightRecord(
        name="sd-vae-ft-mse",
        purpose="the large model's autoencoder",
        files=("config.json", "diffusion_pytorch_model.safetensors"),
        licence="MIT",
        source="Stability AI, Stable Diffusion's VAE, fine-tuned decoder",
        origin="download",
        repository="stabilityai/sd-vae-ft-mse",
    ),
    WeightRecord(
        name="taesd",
        purpose="a tiny autoencoder for the large model's previews",
        files=("config.json", "diffusion_pytorch_model.safetensors"),
        licence="MIT",
        source="Ollin Boer Bohan, TAESD 1.2",
        origin="download",
        repository="madebyollin/taesd",
        revision="931366cc24b8bc15d6f682fa2e0352f1deec397b",
        facts={
            "diffusion_pytorch_model.safetensors": FileFacts(
                9793292, "d7956d561b1efbd861ad9b03fd8f01510f9e87eddc07bdfd20837009433f6ee5"
            ),
        },
    ),
    WeightRecord(
        name="lpips-alexnet",
        purpose="AlexNet under LPIPS and tLP (benchmark)",
        files=("alexnet-owt-7be5be79.pth",),
        licence="BSD-3-Clause (code); trained on ImageNet, for research",
        source="torchvision's AlexNet, IMAGENET1K_V1",
        origin="download",
        folder=None,
        commercial_use=False,
    ),
    WeightRecord(
        name="fid-inception",
        purpose="Inception v3 under FID and KID (benchmark)",
        files=("pt_inception-2015-12-05-6726825d.pth",),
        licence="Apache-2.0",
        source="the release fid_weights of pytorch-fid, TensorFlow's network of 2015-12-05",
        origin="download",
        folder=None,
    ),
    WeightRecord(
        name="fvd-i3d",
        purpose="I3D under FVD (benchmark)",
        files=("i3d_torchscript.pt",),
        licence="Apache-2.0 (I3D); trained on Kinetics-400",
        source="Carreira and Zisserman 2017, traced for StyleGAN-V",
        origin="download",
        repository="flateon/FVD-I3D-torchscript",
    ),
    WeightRecord(
        name="syncnet",
        purpose="SyncNet under LSE-C and LSE-D (benchmark)",
        files=("syncnet_v2.model",),
        licence="MIT (code); the weights' licence is not stated",
        source="Chung and Zisserman 2016, Out of time; the download of syncnet_python",
        origin="download",
        folder=None,
        commercial_use=False,
    ),
    WeightRecord(
        name="l2cs-gaze",
        purpose="gaze from a picture (benchmark)",
        files=("L2CSNet_gaze360.pkl",),
        licence="MIT (code); trained on Gaze360, for research",
        source="Abdelrahman et al. 2023, L2CS-Net, Gaze360",
        origin="download",
        folder=None,
        commercial_use=False,
    ),
    WeightRecord(
        name="smirk",
        purpose="expression and pose of a 3-D face model (benchmark: AED, APD)",
        files=("smirk_encoder.torchscript",),
        licence="MIT (code); the FLAME model behind it is non-commercial",
        source="Retsinas et al. 2024, SMIRK; its encoder traced as bench/metrics/face_parameters.py says",
        origin="download",
        folder=None,
        commercial_use=False,
    ),
    WeightRecord(
        name="hsemotion",
        purpose="emotions of a face (benchmark)",
        files=("enet_b0_8_best_vgaf.onnx",),
        licence="Apache-2.0 (code); trained on AffectNet, for research",
        source="Savchenko 2022, HSEmotion",
        origin="download",
        folder=None,
        commercial_use=False,
    ),
    WeightRecord(
        name="action-units",
        purpose="action units of a face (benchmark)",
        files=("action_units.onnx",),
        licence="that of the classifier you bring",
        source="any classifier of action units, exported as bench/metrics/action_units.py says",
        origin="download",
        folder=None,
        commercial_use=False,
    ),
)


def get(name: str) -> WeightRecord:
    """The record of that name.

    Raises WeightsError that lists the known names.
    """
    for record in RECORDS:
        if record.name == name:
            return record
    known = ", ".join(record.name for record in RECORDS)
    raise WeightsError(f"Mien knows no weights named {name!r}: it knows {known}.")


def _folder_of(found: Path, file: str) -> Path:
    """The folder that `file` is a path in: a found file may lie under its whole path or under its bare name."""
    parts = Path(file).parts
    return found.parents[len(parts) - 1] if found.parts[-len(parts) :] == parts else found.parent
