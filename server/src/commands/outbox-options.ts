/** What `settle outbox` is asked to do. */
import { SettleError } from 'settle/core';
import type { DeadLetterQuery } from 'settle/relay';
import {
  choiceOption,
  integerOption,
  listOption,
  switchOption,
  textItem,
  textOption,
  type Option,
} from '../config-option.ts';
import { flagOf, readFlags, unknownName, valueOf } from '../flags.ts';
import { parseOutboxPlace, placeShapes, type OutboxPlace } from '../outbox/place.ts';

export type OutboxCommand =
  | ({ readonly kind: 'list'; readonly limit: number; readonly cursor: string | undefined } & OnDeadLetters)
  | ({ readonly kind: 'replay' } & OnDeadLetters)
  | ({ readonly kind: 'purge' } & OnDeadLetters)
  | ({ readonly kind: 'stats' } & OnDatabase)
  | ({ readonly kind: 'migrate' } & OnDatabase)
  | { readonly kind: 'sql'; readonly dialect: SqlDialect };

interface OnDatabase {
  readonly place: OutboxPlace;
  readonly json: boolean;
}

interface OnDeadLetters extends OnDatabase {
  readonly query: DeadLetterQuery;
}

const dialects = ['postgres', 'mysql', 'mariadb', 'sqlite'] as const;
export type SqlDialect = (typeof dialects)[number];

export const databaseVariable = 'SETTLE_OUTBOX_DATABASE';
const help = 'settle outbox --help';

const options = {
  database: textOption({
    default: '',
    hint: 'url',
    doc: `Where the outbox is: ${placeShapes}. Also ${databaseVariable}, which process lists do not show.`,
  }),
  json: switchOption({ default: false, doc: 'Print JSON.' }),
  id: listOption({
    default: [],
    hint: 'list',
    doc: 'Only messages with these ids.',
    item: textItem('an id', (text) => text !== ''),
  }),
  type: textOption({ default: '', hint: 'type', doc: 'Only messages of this type.' }),
  cause: choiceOption({
    choices: ['', 'poison', 'attempts', 'crash'],
    default: '',
    doc: 'Only messages given up for this cause.',
  }),
  limit: integerOption({ default: 50, min: 1, max: 1_000, doc: 'How many to list.' }),
  cursor: textOption({ default: '', hint: 'cursor', doc: 'Go on after the page that ended in this.' }),
  all: switchOption({ default: false, doc: 'Every dead letter, whatever its id, type and cause.' }),
  yes: switchOption({ default: false, doc: 'Delete them; there is no way back.' }),
  dialect: choiceOption({
    choices: ['', ...dialects],
    default: '',
    doc: 'The database that the statements are for.',
  }),
} as const;

type Name = keyof typeof options;
type Kind = OutboxCommand['kind'];

const whichOnes = ['id', 'type', 'cause'] as const;

const kinds: Readonly<Record<Kind, { readonly does: string; readonly takes: readonly Name[] }>> = {
  list: {
    does: 'Show the dead letters, oldest first',
    takes: ['database', ...whichOnes, 'limit', 'cursor', 'json'],
  },
  replay: {
    does: 'Put dead letters back where they stood, to be published again',
    takes: ['database', ...whichOnes, 'all', 'json'],
  },
  purge: { does: 'Delete dead letters', takes: ['database', ...whichOnes, 'all', 'yes', 'json'] },
  stats: {
    does: 'Count what waits, what died, and who relays',
    takes: ['database', 'json'],
  },
  migrate: {
    does: 'Create what is missing of the tables of outbox and inbox',
    takes: ['database', 'json'],
  },
  sql: { does: 'Print the statements that migrate runs on an empty database', takes: ['dialect'] },
};

/** Throws `config_invalid` that names the flag, and never the URL, which may hold a password. */
export function readOutboxCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): OutboxCommand {
  const [asked = '', ...rest] = argv;
  const kind = kindOf(asked);
  const taken = Object.fromEntries(kinds[kind].takes.map((name) => [name, options[name]]));
  const flags = readFlags(rest, taken, help);
  const value = <T>(name: Name, option: Option<T>): T => {
    const text = flags.get(name);
    return text === undefined ? option.default : valueOf(option.parse(text), `--${flagOf(name)}`);
  };
  if (kind === 'sql') return { kind, dialect: dialectOf(value('dialect', options.dialect)) };
  const place = placeOf(value('database', options.database), env[databaseVariable]);
  const onDatabase = { place, json: value('json', options.json) };
  if (kind === 'stats' || kind === 'migrate') return { kind, ...onDatabase };

  const ids = value('id', options.id);
  const type = value('type', options.type);
  const cause = value('cause', options.cause);
  const query: DeadLetterQuery = {
    ...(ids.length === 0 ? {} : { ids }),
    ...(type === '' ? {} : { type }),
    ...(isCause(cause) ? { cause } : {}),
  };
  if (kind === 'list') {
    const cursor = value('cursor', options.cursor);
    const limit = value('limit', options.limit);
    return { kind, ...onDatabase, query, limit, cursor: cursor === '' ? undefined : cursor };
  }
  checkWhich(kind, query, value('all', options.all));
  if (kind === 'purge' && !value('yes', options.yes)) {
    throw invalid(
      'purge deletes messages for good, and --yes is missing',
      'Look at them with settle outbox list, then add --yes',
    );
  }
  return { kind, ...onDatabase, query };
}

/** What `settle outbox --help` shows. */
export function describeOutbox(
  describe: (table: Readonly<Record<string, Option<unknown>>>) => string,
): string {
  const width = Math.max(...Object.keys(kinds).map((kind) => kind.length));
  const each = Object.entries(kinds).map(([kind, { does, takes }]) => {
    const flags = takes.map((name) => `--${flagOf(name)}`).join(' ');
    return `  ${kind.padEnd(width)}  ${does}\n  ${' '.repeat(width)}  ${flags}`;
  });
  return `${each.join('\n')}\n\n${describe(options)}`;
}

function kindOf(asked: string): Kind {
  const known = Object.keys(kinds).find((kind): kind is Kind => kind === asked);
  if (known !== undefined) return known;
  if (asked === '' || asked.startsWith('-')) {
    throw invalid(
      'settle outbox needs to be told what to do',
      `Name one of ${Object.keys(kinds).join(', ')}`,
    );
  }
  throw unknownName({ subject: asked, kind: 'command' }, Object.keys(kinds), help);
}

/** Nobody replays or deletes everything by leaving something out. */
function checkWhich(kind: 'replay' | 'purge', query: DeadLetterQuery, all: boolean): void {
  const isNarrowed = Object.keys(query).length > 0;
  if (isNarrowed && all) {
    throw invalid('--all goes with none of --id, --type and --cause', 'Leave --all out, or the others');
  }
  if (isNarrowed || all) return;
  throw invalid(
    `${kind} needs to be told which dead letters`,
    'Give --id, --type or --cause, or --all for every one',
  );
}

function placeOf(flag: string, variable: string | undefined): OutboxPlace {
  const given =
    flag === '' ? { text: variable ?? '', from: databaseVariable } : { text: flag, from: '--database' };
  if (given.text === '') {
    throw invalid('--database is missing', `Give it, or set ${databaseVariable}: ${placeShapes}`);
  }
  return valueOf(parseOutboxPlace(given.text), given.from, 'Correct it');
}

function dialectOf(given: string): SqlDialect {
  const known = dialects.find((dialect) => dialect === given);
  if (known !== undefined) return known;
  throw invalid('--dialect is missing', `Give one of ${dialects.join(', ')}`);
}

function isCause(text: string): text is NonNullable<DeadLetterQuery['cause']> {
  return text === 'poison' || text === 'attempts' || text === 'crash';
}

function invalid(what: string, next: string): SettleError {
  return new SettleError('config_invalid', what, { next });
}
