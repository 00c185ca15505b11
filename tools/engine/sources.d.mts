/** One published package, and what of it the engine is compiled from. */
export interface Source {
  readonly name: string;
  readonly version: string;
  /** SHA-512 of the tarball, as npm writes it. */
  readonly integrity: string;
  /** Where the kept files go, below the sources' folder; also the first part of their paths in the compiler's tree. */
  readonly folder: string;
  /** The folder inside the tarball whose files are kept. */
  readonly from: string;
  /** Which of them, by their path below `from`. */
  readonly keep: RegExp;
  readonly licence: string;
}

export const SOURCES: readonly Source[];
