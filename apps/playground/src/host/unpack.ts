import { SnapshotError, TAR_LIMITS } from "@iommu-lab/host";

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/**
 * A file's contents, unpacked where it is a gzip file.
 * @throws SnapshotError when it is damaged, or unpacks to more than any host
 */
export const unpack = async (name: string, bytes: Uint8Array): Promise<Uint8Array> => {
  if (!isGzip(bytes)) return bytes;
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    const reader = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
    for (let read = await reader.read(); !read.done && size <= TAR_LIMITS.bytes; read = await reader.read()) {
      parts.push(read.value);
      size += read.value.length;
    }
    await reader.cancel();
  } catch {
    throw new SnapshotError(`${name} is a damaged gzip file.`);
  }
  if (size > TAR_LIMITS.bytes) throw new SnapshotError(`${name} unpacks to more than ${TAR_LIMITS.bytes} bytes.`);
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};
