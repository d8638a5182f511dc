/** States of a device under VFIO's migration protocol, version 2. Linux enum vfio_device_mig_state. */
export const MigrationState = { Error: 0, Stop: 1, Running: 2, StopCopy: 3, Resuming: 4, RunningP2P: 5, PreCopy: 6, PreCopyP2P: 7 } as const;
export type MigrationState = (typeof MigrationState)[keyof typeof MigrationState];

const { Error: ERROR, Stop, Running, StopCopy, Resuming, RunningP2P, PreCopy, PreCopyP2P } = MigrationState;

/** Single steps, those first that a path is to prefer. */
const ARCS: Readonly<Record<MigrationState, readonly MigrationState[]>> = {
  [ERROR]: [],
  [Stop]: [RunningP2P, StopCopy, Resuming],
  [Running]: [RunningP2P, PreCopy],
  [StopCopy]: [Stop],
  [Resuming]: [Stop],
  [RunningP2P]: [Running, Stop, PreCopyP2P],
  [PreCopy]: [Running, PreCopyP2P],
  [PreCopyP2P]: [RunningP2P, PreCopy, StopCopy],
};

/** What a device can do beside RUNNING, STOP, STOP_COPY and RESUMING. */
export interface MigrationFeatures {
  /** Peer-to-peer quiescence: RUNNING_P2P. VFIO_MIGRATION_P2P. */
  readonly peerToPeer: boolean;
  /** Copying while the device runs. VFIO_MIGRATION_PRE_COPY. */
  readonly preCopy: boolean;
}

/** Whether a device has the state. */
export const isSupported = (state: MigrationState, { peerToPeer, preCopy }: MigrationFeatures): boolean => {
  if (state === RunningP2P) return peerToPeer;
  if (state === PreCopy) return preCopy;
  return state !== PreCopyP2P || (peerToPeer && preCopy);
};

/** States on the way, in order, the last included. Undefined where there is no way. */
const shortest = (from: MigrationState, to: MigrationState): readonly MigrationState[] | undefined => {
  const cameFrom = new Map<MigrationState, MigrationState>([[from, from]]);
  const queue: MigrationState[] = [from];
  for (let state = queue.shift(); state !== undefined; state = queue.shift())
    for (const next of ARCS[state]) {
      if (cameFrom.has(next)) continue;
      cameFrom.set(next, state);
      queue.push(next);
    }
  if (!cameFrom.has(to)) return undefined;
  const path: MigrationState[] = [];
  for (let state = to; state !== from; state = cameFrom.get(state) as MigrationState) path.unshift(state);
  return path;
};

/**
 * The single steps from one state to another: the shortest way, in which states that the device lacks are passed over.
 * Linux include/uapi/linux/vfio.h, vfio_mig_get_next_state.
 * @returns undefined where the protocol has no way: out of or into ERROR, from STOP_COPY back to pre-copy, states the device lacks
 */
export const migrationPath = (from: MigrationState, to: MigrationState, features: MigrationFeatures): readonly MigrationState[] | undefined => {
  if (from === ERROR || to === ERROR || !isSupported(to, features) || !isSupported(from, features)) return undefined;
  if (from === StopCopy && (to === PreCopy || to === PreCopyP2P)) return undefined;
  return shortest(from, to)?.filter((state) => isSupported(state, features));
};
