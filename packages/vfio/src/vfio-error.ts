import { IommuDriverError } from "@iommu-lab/pci-bus";

/** Error numbers as Linux's interfaces return them. */
export type VfioErrorCode =
  | "EACCES"
  | "EADDRINUSE"
  | "EBUSY"
  | "EDEADLK"
  | "EEXIST"
  | "EFAULT"
  | "EINVAL"
  | "EIO"
  | "ENODEV"
  | "ENOENT"
  | "ENOMEM"
  | "ENOSPC"
  | "ENOTTY"
  | "EOPNOTSUPP"
  | "EOVERFLOW"
  | "EPERM"
  | "ERANGE";

/** A refusal as the kernel's ioctls and sysfs files give it; the message says why in a sentence. */
export class VfioError extends Error {
  override readonly name = "VfioError";
  readonly code: VfioErrorCode;
  constructor(code: VfioErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Runs `action`; what the IOMMU's driver refuses becomes the refusal of the interface above it. */
export const asVfioError = <T>(action: () => T): T => {
  try {
    return action();
  } catch (error) {
    throw error instanceof IommuDriverError ? new VfioError(error.code, error.message) : error;
  }
};
