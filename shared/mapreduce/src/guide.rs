//! How to write a program, by examples that run.
//!
//! Each is tried with a [`Rehearsal`](crate::Rehearsal), as its author would in a
//! test; on a cluster it gives the same bytes. How a binary comes to have a program of
//! its own is in `data/examples/own-program`.
//!
//! # A mapper, a reducer
//!
//! A mapper is made for each map task and sees its records one after the other; a
//! reducer is made for each partition and sees its keys in order, with their values.
//! What both need of the job they take from the context they are made with.
//!
//! ```
//! use vivat_mapreduce::{Rehearsal, prelude::*};
//!
//! /// Lines with a word in them, by file.
//! struct Mentions;
//!
//! struct Find<'t> {
//!     file: &'t str,
//!     word: &'t str,
//! }
//!
//! struct Print;
//!
//! impl Program for Mentions {
//!     type Key = String;
//!     type Value = u64;
//!     type Mapper<'t> = Find<'t>;
//!     type Reducer<'t> = Print;
//!
//!     fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Find<'t>, ProgramError> {
//!         let word = context.parameters.get("word");
//!         let word = word.ok_or_else(|| ProgramError::new("which word?"))?;
//!         Ok(Find { file: context.display, word })
//!     }
//!
//!     fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
//!         Ok(Print)
//!     }
//! }
//!
//! impl Mapper<String, u64> for Find<'_> {
//!     fn map<E: Emit<String, u64>>(
//!         &mut self,
//!         record: Record<'_>,
//!         emit: &mut E,
//!     ) -> Result<(), ProgramError> {
//!         // An error with a place names file and line to whoever submitted the job.
//!         let line = std::str::from_utf8(record.bytes)
//!             .map_err(|_| ProgramError::at(record.offset, "the line is no UTF-8"))?;
//!         if line.contains(self.word) {
//!             emit.emit(self.file, 1);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! impl Reducer<String, u64> for Print {
//!     fn reduce<S: Values<u64>>(
//!         &mut self,
//!         file: &str,
//!         values: &mut S,
//!         out: &mut Output<'_>,
//!     ) -> Result<(), ProgramError> {
//!         let mut lines = 0;
//!         while let Some(one) = values.next() {
//!             lines += one;
//!         }
//!         out.pair(file.as_bytes(), lines);
//!         Ok(())
//!     }
//! }
//!
//! let files = Rehearsal::new()
//!     .file("b.txt", "a whale\nno fish\n")
//!     .file("a.txt", "whales\nwhale, whale\n");
//! let found = files.clone().parameter("word", "whale").run(&Mentions).unwrap();
//! assert_eq!(found.text(), "a.txt\t2\nb.txt\t1\n");
//! assert_eq!(files.run(&Mentions).unwrap_err().detail, "which word?");
//! ```
//!
//! # A combiner
//!
//! Most of what a mapper emits need not travel. [`Combiner::Merge`](crate::Combiner)
//! folds values of a key into one as they are emitted: sums, greatest, least. Where one
//! value is not enough, [`Combiner::Combine`](crate::Combiner) runs a function over the
//! values of a key whenever records are written. Both must be associative, exactly:
//! where their runs are cut depends on memory.
//!
//! ```
//! # use vivat_mapreduce::{Rehearsal, prelude::*};
//! /// The two longest words of each letter.
//! struct Longest;
//!
//! # struct Words;
//! # struct Join;
//! fn two_longest<S: Values<String>>(values: &mut S) -> Vec<String> {
//!     let mut words = Vec::new();
//!     while let Some(word) = values.next() {
//!         words.push(word.to_owned());
//!         words.sort_by_key(|word| (usize::MAX - word.len(), word.clone()));
//!         words.dedup();
//!         words.truncate(2);
//!     }
//!     words
//! }
//!
//! impl Program for Longest {
//!     type Key = String;
//!     type Value = String;
//!     const COMBINER: Combiner = Combiner::Combine;
//!
//!     fn combine<S: Values<String>, E: EmitValue<String>>(
//!         &self,
//!         _letter: &str,
//!         values: &mut S,
//!         emit: &mut E,
//!     ) {
//!         for word in two_longest(values) {
//!             emit.emit(&word);
//!         }
//!     }
//! #
//! #     type Mapper<'t> = Words;
//! #     type Reducer<'t> = Join;
//! #
//! #     fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Words, ProgramError> {
//! #         Ok(Words)
//! #     }
//! #
//! #     fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Join, ProgramError> {
//! #         Ok(Join)
//! #     }
//! }
//! #
//! # impl Mapper<String, String> for Words {
//! #     fn map<E: Emit<String, String>>(
//! #         &mut self,
//! #         record: Record<'_>,
//! #         emit: &mut E,
//! #     ) -> Result<(), ProgramError> {
//! #         for word in std::str::from_utf8(record.bytes).unwrap().split(' ') {
//! #             emit.emit(&word[..1], word);
//! #         }
//! #         Ok(())
//! #     }
//! # }
//! #
//! # impl Reducer<String, String> for Join {
//! #     fn reduce<S: Values<String>>(
//! #         &mut self,
//! #         letter: &str,
//! #         values: &mut S,
//! #         out: &mut Output<'_>,
//! #     ) -> Result<(), ProgramError> {
//! #         out.pair(letter.as_bytes(), two_longest(values).join(" "));
//! #         Ok(())
//! #     }
//! # }
//!
//! let text = "ant ape bee antelope\nbear badger bee buffalo\n";
//! let whole = Rehearsal::new().file("a", text).run(&Longest).unwrap();
//! assert_eq!(whole.text(), "a\tantelope ant\nb\tbuffalo badger\n");
//! // However often it ran: the same.
//! for records in [1, 2, 3] {
//!     let often = Rehearsal::new().file("a", text).combine_every(records).run(&Longest);
//!     assert_eq!(often.unwrap(), whole);
//! }
//! ```
//!
//! # A partitioner
//!
//! A key goes to the partition of its hash, unless the program says otherwise: by a
//! part of the key, so that what belongs together is reduced together, or by ranges,
//! so that the parts in order are sorted as a whole ([`Ranges`](crate::Ranges)).
//!
//! ```
//! # use vivat_mapreduce::{Rehearsal, prelude::*};
//! struct ByYear;
//!
//! impl Program for ByYear {
//!     type Key = (u32, String);
//!     type Value = ();
//! #   type Mapper<'t> = Parse;
//! #   type Reducer<'t> = Print;
//!
//!     /// Encoded keys have the order of the keys: a `u32` is its bytes, the highest
//!     /// first. All of one year are in one part, in the order of their names.
//!     fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
//!         let year = key.bytes().first_chunk().map_or(0, |year| u32::from_be_bytes(*year));
//!         year % context.partitions
//!     }
//! #
//! #   fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Parse, ProgramError> {
//! #       Ok(Parse)
//! #   }
//! #
//! #   fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
//! #       Ok(Print)
//! #   }
//! }
//! # struct Parse;
//! # struct Print;
//! # impl Mapper<(u32, String), ()> for Parse {
//! #     fn map<E: Emit<(u32, String), ()>>(
//! #         &mut self,
//! #         record: Record<'_>,
//! #         emit: &mut E,
//! #     ) -> Result<(), ProgramError> {
//! #         let line = std::str::from_utf8(record.bytes).unwrap();
//! #         let (year, name) = line.split_once(' ').unwrap();
//! #         emit.emit((year.parse().unwrap(), name), ());
//! #         Ok(())
//! #     }
//! # }
//! # impl Reducer<(u32, String), ()> for Print {
//! #     fn reduce<S: Values<()>>(
//! #         &mut self,
//! #         (year, name): (u32, std::borrow::Cow<'_, str>),
//! #         _: &mut S,
//! #         out: &mut Output<'_>,
//! #     ) -> Result<(), ProgramError> {
//! #         out.pair(year.to_string().as_bytes(), name);
//! #         Ok(())
//! #     }
//! # }
//!
//! let text = "1852 moby\n1851 whale\n1852 ahab\n1853 queequeg\n";
//! let parts = Rehearsal::new().file("a", text).partitions(2).run(&ByYear).unwrap().parts;
//! assert_eq!(parts[0], b"1852\tahab\n1852\tmoby\n");
//! assert_eq!(parts[1], b"1851\twhale\n1853\tqueequeg\n");
//! ```
//!
//! # CSV and counters
//!
//! In format CSV a task knows the header, and a [`CsvRow`](crate::CsvRow) finds the
//! fields of a record. A counter is named once and then costs an addition; its sums are
//! shown while the job runs, and counted once for each task, however often it was tried.
//!
//! ```
//! use vivat_mapreduce::{Framing, Rehearsal, prelude::*};
//!
//! /// Points by team; who has none is counted.
//! struct Points;
//!
//! struct Row {
//!     team: usize,
//!     points: usize,
//!     columns: usize,
//!     row: CsvRow,
//!     missing: Counter,
//! }
//! # struct Sum;
//!
//! impl Program for Points {
//!     type Key = Vec<u8>;
//!     type Value = u64;
//! #   type Reducer<'t> = Sum;
//!     type Mapper<'t> = Row;
//!
//!     fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Row, ProgramError> {
//!         let header = context.header.ok_or_else(|| ProgramError::new("it reads CSV"))?;
//!         Ok(Row {
//!             team: header.column("team")?,
//!             points: header.column("points")?,
//!             columns: header.names().len(),
//!             row: CsvRow::default(),
//!             missing: context.counter("points.missing")?,
//!         })
//!     }
//! #
//! #   fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Sum, ProgramError> {
//! #       Ok(Sum)
//! #   }
//! }
//!
//! impl Mapper<Vec<u8>, u64> for Row {
//!     fn map<E: Emit<Vec<u8>, u64>>(
//!         &mut self,
//!         record: Record<'_>,
//!         emit: &mut E,
//!     ) -> Result<(), ProgramError> {
//!         let fields = self.row.read(record, self.columns)?;
//!         let points = fields.get(self.points);
//!         if points.is_empty() {
//!             self.missing.add(1);
//!             return Ok(());
//!         }
//!         let points = std::str::from_utf8(points).ok().and_then(|text| text.parse().ok());
//!         let points = points.ok_or_else(|| {
//!             ProgramError::at(record.offset, "column `points`: a number is needed")
//!         })?;
//!         emit.emit(fields.get(self.team), points);
//!         Ok(())
//!     }
//! }
//! # impl Reducer<Vec<u8>, u64> for Sum {
//! #     fn reduce<S: Values<u64>>(
//! #         &mut self,
//! #         team: &[u8],
//! #         values: &mut S,
//! #         out: &mut Output<'_>,
//! #     ) -> Result<(), ProgramError> {
//! #         let mut sum = 0;
//! #         while let Some(points) = values.next() {
//! #             sum += points;
//! #         }
//! #         out.pair(team, sum);
//! #         Ok(())
//! #     }
//! # }
//!
//! let table = "team,points\nA,3\n\"B, C\",4\nA,\nA,5\n";
//! let of_table = |table: &str| {
//!     Rehearsal::new().framing(Framing::Csv).file("games.csv", table).run(&Points)
//! };
//! let found = of_table(table).unwrap();
//! assert_eq!(found.text(), "A\t8\nB, C\t4\n");
//! assert_eq!(found.counters["points.missing"], 1);
//! let error = of_table("team,points\nA,many\n").unwrap_err();
//! assert_eq!(error.offset, Some(12));
//! ```
//!
//! # Rounds
//!
//! A program that closes is asked after every round what it came to: what it answers
//! goes to all tasks of the next round, and it says whether there is to be one. It says
//! so in [`Program::CLOSES`](crate::Program::CLOSES); the most rounds are the job's to
//! say, `rounds = N` in a step of a job file.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::io::Read;
//!
//! use vivat_mapreduce::{Rehearsal, prelude::*};
//!
//! /// The square root of 2 by Newton's method, a step in each round.
//! struct Newton;
//!
//! # struct Step { guess: f64 }
//! # struct Print;
//! fn guess(broadcast: &[u8]) -> f64 {
//!     let text = std::str::from_utf8(broadcast).ok();
//!     text.and_then(|text| text.parse().ok()).unwrap_or(1.0)
//! }
//!
//! impl Program for Newton {
//! #   type Key = u32;
//! #   type Value = f64;
//! #   type Mapper<'t> = Step;
//! #   type Reducer<'t> = Print;
//!     const CLOSES: bool = true;
//!
//!     fn close(
//!         &self,
//!         context: &CloseContext<'_>,
//!         parts: &mut Parts<'_>,
//!     ) -> Result<Closed, ProgramError> {
//!         let mut text = String::new();
//!         while let Some(mut part) = parts.next()? {
//!             part.read_to_string(&mut text).map_err(ProgramError::part)?;
//!         }
//!         let next = guess(text.trim().as_bytes());
//!         let moved = (next - guess(context.broadcast)).abs();
//!         Ok(Closed {
//!             broadcast: next.to_string().into_bytes(),
//!             metrics: BTreeMap::from([("moved".to_owned(), moved)]),
//!             again: moved > 1e-9,
//!         })
//!     }
//! #
//! #   fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Step, ProgramError> {
//! #       Ok(Step { guess: guess(context.broadcast) })
//! #   }
//! #
//! #   fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Print, ProgramError> {
//! #       Ok(Print)
//! #   }
//! }
//! # impl Mapper<u32, f64> for Step {
//! #     fn map<E: Emit<u32, f64>>(
//! #         &mut self,
//! #         record: Record<'_>,
//! #         emit: &mut E,
//! #     ) -> Result<(), ProgramError> {
//! #         let number = guess(record.bytes);
//! #         emit.emit(0, (self.guess + number / self.guess) / 2.0);
//! #         Ok(())
//! #     }
//! # }
//! # impl Reducer<u32, f64> for Print {
//! #     fn reduce<S: Values<f64>>(
//! #         &mut self,
//! #         _: u32,
//! #         values: &mut S,
//! #         out: &mut Output<'_>,
//! #     ) -> Result<(), ProgramError> {
//! #         while let Some(value) = values.next() {
//! #             out.line(value.to_string().as_bytes());
//! #         }
//! #         Ok(())
//! #     }
//! # }
//!
//! let mut round = Rehearsal::new().file("number", "2\n");
//! let closed = loop {
//!     let parts = round.run(&Newton).unwrap().parts;
//!     let closed = round.close(&Newton, &parts).unwrap();
//!     if !closed.again {
//!         break closed;
//!     }
//!     round = round.broadcast(&closed.broadcast);
//! };
//! assert!((guess(&closed.broadcast) - 2_f64.sqrt()).abs() < 1e-9);
//! ```
