"""Textbook formulations to test against, written for clarity, differentiated by autograd."""
import torch
from torch import Tensor


def covariance(x: Tensor) -> Tensor:
    """Eq. 1 with its centring matrix: (B, C, H, W) to (B, C, C)."""
    x = x.flatten(2)
    pixels = x.shape[2]
    centring = torch.eye(pixels, dtype=x.dtype, device=x.device) - 1 / pixels
    return x @ (centring / pixels) @ x.mT


def isqrt_cov(x: Tensor, num_iters: int = 5) -> Tensor:
    """iSQRT-COV as published: coupled C x C iteration between division and multiplication by the trace."""
    sigma = covariance(x)
    trace = sigma.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    identity = torch.eye(sigma.shape[-1], dtype=x.dtype, device=x.device)
    y, z = sigma / trace, identity.expand_as(sigma)
    for _ in range(num_iters):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return trace.sqrt() * y


def spectral(sigma: Tensor, function) -> Tensor:
    """Function of symmetric matrices, with autograd through the eigendecomposition."""
    values, vectors = torch.linalg.eigh(sigma)
    return (vectors * function(values)[:, None]) @ vectors.mT


def exact_root(x: Tensor) -> Tensor:
    """Eq. 2."""
    return matrix_power(x, 0.5)


def matrix_power(x: Tensor, alpha: float) -> Tensor:
    """MPN-COV."""
    return spectral(covariance(x), lambda values: torch.where(values > 1e-12, values, 0)**alpha)


def shrunk(sigma: Tensor, gamma: float) -> Tensor:
    """(1 - gamma) S + gamma tr(S) I / C."""
    mean = sigma.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    return (1 - gamma) * sigma + gamma * mean * torch.eye(sigma.shape[-1], dtype=sigma.dtype, device=sigma.device)


def matrix_log(x: Tensor, gamma: float = 1e-3) -> Tensor:
    """DeepO2P, of the shrunk covariance."""
    return spectral(shrunk(covariance(x), gamma), torch.log)


def pade_root(x: Tensor, degree: int = 5) -> Tensor:
    """Sum of partial fractions, sqrt(1 + z) = 1 + sum_j a_j z / (1 + b_j z)."""
    sigma = covariance(x)
    norm = sigma.square().sum((1, 2), keepdim=True).sqrt()
    identity = torch.eye(sigma.shape[-1], dtype=x.dtype, device=x.device)
    z = sigma / norm - identity
    root = identity
    for j in range(1, degree + 1):
        angle = torch.tensor(j * torch.pi / (2 * degree + 1), dtype=torch.float64)
        a, b = (2 / (2 * degree + 1) * angle.sin()**2).item(), (angle.cos()**2).item()
        root = root + a * z @ torch.linalg.inv(identity + b * z)
    return root * norm.sqrt()


def signed_power(x: Tensor, alpha: float = 0.5) -> Tensor:
    """B-CNN: each entry to a power, then the l2 norm."""
    sigma = covariance(x)
    powers = sigma.sign() * sigma.abs()**alpha
    return powers / powers.square().sum((1, 2), keepdim=True).sqrt()


def gaussian_root(x: Tensor, beta: float = 1.) -> Tensor:
    """G2DeNet: root of [[S + beta^2 mu mu^T, beta mu], [beta mu^T, 1]]."""
    mean = beta * x.flatten(2).mean(2)[:, :, None]
    top = torch.cat([covariance(x) + mean @ mean.mT, mean], 2)
    bottom = torch.cat([mean.mT, torch.ones_like(mean[:, :1])], 2)
    return spectral(torch.cat([top, bottom], 1), lambda values: values.clamp(min=0).sqrt())


def compact_bilinear(x: Tensor, hashes: Tensor, signs: Tensor, size: int, alpha: float = 0.5) -> Tensor:
    """Tensor sketch as published: per pixel, the circular convolution of two count sketches by FFT."""
    x = x.flatten(2)
    x = x - x.mean(2, keepdim=True)
    spectra = []
    for row in range(2):
        sketch = torch.zeros(size, x.shape[1], dtype=x.dtype, device=x.device)
        sketch[hashes[row], torch.arange(x.shape[1])] = signs[row].to(x)
        spectra.append(torch.fft.fft(sketch @ x, dim=1))
    pooled = torch.fft.ifft(spectra[0] * spectra[1], dim=1).real.mean(2)
    pooled = pooled.sign() * pooled.abs()**alpha
    return pooled / pooled.norm(dim=1, keepdim=True)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """||actual - expected|| / ||expected||, in float64."""
    expected = expected.double()
    return ((actual.double() - expected).norm() / expected.norm()).item()


def value_and_gradient(function, x: Tensor, weight: Tensor) -> tuple:
    """``function(x)`` and the gradient of its inner product with ``weight``."""
    out = function(x)
    return out.detach(), torch.autograd.grad(out, x, weight.to(out.dtype))[0]
