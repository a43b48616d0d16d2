// The frames of GET /v1/stream, as docs/wire-format.md ("Server-sent events") has them. Types only: nothing to install.
//
// New fields and new events come without a new version; pass over what you do not know.

/** RFC 3339 in UTC with milliseconds, e.g. "2026-05-04T12:00:00.123Z"; two of them compare as texts. */
export type Timestamp = string;

/** A CDS code: 14 digits. A text, because leading zeros count. */
export type OrganizationId = string;

export type Grade = "KG" | "01" | "02" | "03" | "04" | "05" | "06" | "07" | "08" | "09" | "10" | "11" | "12";

export type Level = "school" | "district" | "county" | "state";

/** Students at exactly that level. `percent` has one decimal and is null of nothing. */
export interface LevelFigure {
  level: number;
  name: string;
  count: number;
  percent: number | null;
}

/** Of the students who have a level in this claim. */
export interface ClaimFigures {
  code: string;
  name: string;
  levels: LevelFigure[];
}

/**
 * One cell of an organization; its name is (`school_year`, `test`, `grade`). Null is not 0: without scores there is no mean.
 *
 * Whoever may not see the individual results of all its students gets it after disclosure control: `results` equals
 * `with_scores`; `under_appeal`, `standard_error` and the quartiles are null; `levels`, `mean` or a claim may be missing.
 */
export interface Cell {
  test: string;
  test_name: string;
  subject: string;
  school_year: number;
  grade: Grade;
  /** Students with a live result, scored or not; 0 only in a patch, and then the cell is gone. */
  results: number | null;
  /** Of those, with an overall score and level that count. */
  with_scores: number | null;
  under_appeal: number | null;
  /** A whole scale point. */
  mean: number | null;
  /** Of the mean; null below two scores. */
  standard_error: number | null;
  first_quartile: number | null;
  median: number | null;
  third_quartile: number | null;
  levels: LevelFigure[];
  claims: ClaimFigures[];
  /** Grows with every change of the cell. */
  version: number;
  changed: Timestamp;
  /** There are results, of so few students that nothing is said of them: show `*`. All figures are null, all lists empty. */
  suppressed?: true;
}

/** All cells of one organization; those without results are left out. */
export interface Organization {
  id: OrganizationId;
  name: string;
  level: Level;
  cells: Cell[];
}

/** What the stream is about; on opening, and after every change. No id. */
export interface Subscribed {
  /** For POST /v1/streams/{stream}/subscription and /renew. */
  stream: string;
  topics: string[];
  tests?: string[];
  grades?: Grade[];
  years?: number[];
  organizations: number;
  /** Of the token. */
  expires: Timestamp;
  /** Forget these. */
  dropped?: OrganizationId[];
}

/** Replaces all that you have of the organizations it names; versions may begin anew. */
export interface Put {
  preliminary: true;
  /** Older results are still missing. */
  stale?: true;
  generation: string;
  as_of: Timestamp;
  organizations: Organization[];
}

/** Changed cells, whole. Take one when its `version` or its `changed` is later than yours. */
export interface Patch {
  preliminary: true;
  stale?: true;
  as_of: Timestamp;
  organizations: { id: OrganizationId; cells: Cell[] }[];
}

/** The heartbeat that a page can show. No id. */
export interface Progress {
  /** Every record stored before this time is in; null: not known. */
  complete: Timestamp | null;
  as_of: Timestamp | null;
  /** False while the tables are away: the figures stand still. */
  live: boolean;
  stale?: true;
}

/** The token is about to expire: POST a fresh one to `renew`. No id. */
export interface Challenge {
  expires: Timestamp;
  renew: string;
}

/** Come back after `retry_ms`; or, when `reconnect` is false, only with another token. */
export type Bye =
  | { reason: ReconnectReason; reconnect: true; retry_ms: number }
  | { reason: FinalReason; reconnect: false; retry_ms: number };

export type ReconnectReason = "max_age" | "draining" | "not_ready" | "too_many_streams" | "overloaded";

export type FinalReason = "token_expired" | "revoked" | "forbidden";

export type ByeReason = ReconnectReason | FinalReason;

/** The data of each event, by its name. */
export interface Frames {
  subscribed: Subscribed;
  put: Put;
  patch: Patch;
  progress: Progress;
  challenge: Challenge;
  bye: Bye;
}

export type EventName = keyof Frames;

/** The body of POST /v1/streams/{stream}/subscription. */
export interface SubscriptionRequest {
  topics: string[];
  tests?: string[];
  grades?: string[];
  years?: number[];
}
