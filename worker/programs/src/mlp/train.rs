//! The rounds of a training.

use std::collections::BTreeMap;
use std::io::Read;

use vivat_mapreduce::{
    CloseContext, Closed, Emit, MapContext, Mapper, Output, Parts, Program, ProgramError, Record,
    ReduceContext, Reducer, SideFiles, Values,
};

use super::kernel::{self, Scratch};
use super::model::Model;
use super::net::{Moments, Net, Rows, Scale, Weights, fit, real, seed_of};
use super::settings::{self, Settings};
use super::shard::{Row, RowReader, Told, Trained, read_file};
use crate::catalogue::{Built, built};
use crate::parameters::Parameters;

pub(super) fn build(parameters: &Parameters) -> Built {
    settings::check(parameters)?;
    built(Train {
        settings: Settings::of(parameters),
    })
}

struct Train {
    settings: Settings,
}

impl Program for Train {
    /// The file's place among the files.
    type Key = u64;
    /// A [`Told`].
    type Value = Vec<u8>;
    type Mapper<'t> = Shard<'t>;
    type Reducer<'t> = Mean<'t>;
    const CLOSES: bool = true;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Shard<'t>, ProgramError> {
        let is_whole = context.split_offset == 0 && context.split_bytes >= context.file_bytes;
        let classes = self.settings.classes;
        Ok(Shard {
            context,
            base: Base::of(&self.settings, context.broadcast, context.side_files)?,
            reader: RowReader::new(context.display, classes, context.split_offset),
            rows: Rows::default(),
            is_whole,
            told: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, context: &'t ReduceContext<'t>) -> Result<Mean<'t>, ProgramError> {
        Ok(Mean {
            context,
            base: Base::of(&self.settings, context.broadcast, context.side_files)?,
            sum: Trained::default(),
            shards: 0,
        })
    }

    fn close(&self, _: &CloseContext<'_>, parts: &mut Parts<'_>) -> Result<Closed, ProgramError> {
        let mut broadcast = Vec::new();
        while let Some(mut part) = parts.next()? {
            part.read_to_end(&mut broadcast)
                .map_err(ProgramError::part)?;
        }
        let model = Model::read(&broadcast).map_err(|detail| {
            ProgramError::new(format!("what the round wrote is no model: {detail}"))
        })?;
        let metrics: BTreeMap<String, f64> = METRICS
            .iter()
            .filter_map(|&name| Some((name.to_owned(), model.number(name)?)))
            .collect();
        Ok(Closed {
            broadcast,
            metrics,
            again: model.number("again") == Some(true),
        })
    }
}

/// Facts of a model that are told of its round.
const METRICS: [&str; 8] = [
    "train_error",
    "train_loss",
    "validation_error",
    "validation_loss",
    "epochs",
    "eta",
    "rows",
    "shards",
];

/// What a round begins with.
struct Base<'t> {
    settings: &'t Settings,
    side_files: &'t SideFiles,
    /// What the round before wrote; in the first one perhaps where columns lie.
    before: Model,
    /// Rounds before this one.
    round: u32,
    scale: Option<Scale>,
}

impl<'t> Base<'t> {
    fn of(
        settings: &'t Settings,
        broadcast: &[u8],
        side_files: &'t SideFiles,
    ) -> Result<Self, ProgramError> {
        // What another program's step handed on is none of ours.
        let before = Model::read(broadcast).unwrap_or_default();
        let before = if before.is_ours() {
            before
        } else {
            Model::default()
        };
        let goes_on = before.number("again") == Some(true);
        let round = if goes_on {
            before.number("round")
        } else {
            None
        };
        let scale = before.scale().filter(|_| settings.is_scaled);
        if settings.is_scaled && scale.is_none() {
            return Err(ProgramError::new(
                "scale=true needs the step before it that looks where the columns lie",
            ));
        }
        Ok(Self {
            settings,
            side_files,
            before,
            round: round.unwrap_or(0),
            scale,
        })
    }

    /// The weights to begin with, for rows of so many numbers.
    fn weights(&self, features: usize) -> Result<Weights, ProgramError> {
        let shape = self.settings.shape(features);
        if self.round > 0 {
            let prefix = if self.scale.is_some() { "next." } else { "" };
            let weights = self.before.weights(prefix);
            let weights = weights.map_err(|detail| {
                ProgramError::new(format!("what the round before handed on: {detail}"))
            })?;
            if weights.shape.features != features {
                return Err(differs("the input", features, weights.shape.features));
            }
            return Ok(weights);
        }
        if self.settings.init.is_empty() {
            return Ok(Weights::drawn(shape, self.settings.seed));
        }
        let name = &self.settings.init;
        let failed = |detail: String| ProgramError::new(format!("init={name}: {detail}"));
        let path = self.side_files.get(name);
        let path = path.ok_or_else(|| failed("the job did not bring that file".to_owned()))?;
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let weights = Model::read(&bytes).and_then(|model| model.weights(""));
        let weights = weights.map_err(failed)?;
        if weights.shape != shape {
            let found = weights.shape;
            return Err(failed(format!(
                "`W` has shape [{}, {}] and `V` [{}, {}]; {features} features, hidden={} and \
                 classes={} want [{}, {}] and [{}, {}]",
                found.features + 1,
                found.hidden,
                found.hidden + 1,
                found.classes,
                shape.hidden,
                shape.classes,
                features + 1,
                shape.hidden,
                shape.hidden + 1,
                shape.classes,
            )));
        }
        Ok(match &self.scale {
            Some(scale) => weights.scaled(scale),
            None => weights,
        })
    }

    /// What Adam goes on with, for so many weights.
    fn moments(&self, weights: usize) -> Option<Moments> {
        let (means, squares) = self.before.moments()?;
        let fits = means.len() == weights && squares.len() == weights;
        (self.round > 0 && fits).then(|| Moments {
            means,
            squares,
            steps: self.before.number("adam_steps").unwrap_or(0),
        })
    }

    /// One shard's part in the round; `shard` is its file's place.
    fn train(&self, mut rows: Rows, shard: u64, name: &str) -> Result<Trained, ProgramError> {
        let weights = self.weights(rows.features)?;
        if let Some(scale) = &self.scale {
            if scale.means.len() != rows.features {
                return Err(differs(name, rows.features, scale.means.len()));
            }
            rows.standardise(scale);
        }
        let mut net = Net::of(&weights);
        let course = self.settings.course(self.round);
        let seed = seed_of(self.settings.seed, self.round, shard);
        let moments = self.moments(weights.all().count());
        let fit = fit(&mut net, &rows, &course, (seed, moments.as_ref()));
        let learnt = net.weights();
        if !fit.tally.loss.is_finite() || !learnt.are_finite() {
            return Err(ProgramError::new(format!(
                "{name}: the weights have left the range of numbers: give a smaller eta than {}, \
                 or scale=true",
                course.eta
            )));
        }
        let apart = learnt.all().zip(weights.all());
        Ok(Trained {
            rows: rows.count() as u64,
            features: u32::try_from(rows.features).unwrap_or(u32::MAX),
            epochs: fit.epochs,
            loss: fit.tally.loss,
            errors: fit.tally.errors,
            deltas: apart.map(|(after, before)| after - before).collect(),
            steps: fit.moments.as_ref().map_or(0, |moments| moments.steps),
            moments: fit.moments.map_or_else(Vec::new, |moments| {
                [moments.means, moments.squares].concat()
            }),
        })
    }
}

fn differs(name: &str, found: usize, expected: usize) -> ProgramError {
    ProgramError::new(format!(
        "{name} has rows of {} columns, and others are of {}",
        found + 1,
        expected + 1
    ))
}

/// One map task: a shard, or a piece of one.
struct Shard<'t> {
    context: &'t MapContext<'t>,
    base: Base<'t>,
    reader: RowReader<'t>,
    rows: Rows,
    is_whole: bool,
    told: Vec<u8>,
}

impl Shard<'_> {
    fn tell(&mut self, told: &Told) -> Result<(), ProgramError> {
        self.told.clear();
        self.told = postcard::to_extend(told, std::mem::take(&mut self.told))
            .map_err(|error| ProgramError::new(format!("a shard cannot be told: {error}")))?;
        Ok(())
    }
}

impl Mapper<u64, Vec<u8>> for Shard<'_> {
    fn map<E: Emit<u64, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let Some(row) = self.reader.read(record)? else {
            return Ok(());
        };
        if self.is_whole {
            return self.rows.push(row).map_err(ProgramError::new);
        }
        let told = Told::Row {
            x: row.x.to_vec(),
            label: row.label,
        };
        self.tell(&told)?;
        emit.emit(u64::from(self.context.file_index), &self.told);
        Ok(())
    }

    fn finish<E: Emit<u64, Vec<u8>>>(mut self, emit: &mut E) -> Result<(), ProgramError> {
        if self.rows.count() == 0 {
            if self.is_whole {
                self.context.counter("mlp.empty-shards")?.add(1);
            }
            return Ok(());
        }
        let file = u64::from(self.context.file_index);
        let rows = std::mem::take(&mut self.rows);
        let trained = self.base.train(rows, file, self.context.display)?;
        self.tell(&Told::Trained(trained))?;
        emit.emit(file, &self.told);
        Ok(())
    }
}

/// The reduce task: adds shards up and writes the model.
struct Mean<'t> {
    context: &'t ReduceContext<'t>,
    base: Base<'t>,
    sum: Trained,
    shards: u64,
}

impl Reducer<u64, Vec<u8>> for Mean<'_> {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        file: u64,
        values: &mut S,
        _: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let name = format!("file {} of the input", file + 1);
        let mut rows = Rows::default();
        while let Some(value) = values.next() {
            match postcard::from_bytes(value) {
                Ok(Told::Trained(trained)) => self.add(&trained, &name)?,
                Ok(Told::Row { x, label }) => rows
                    .push(Row { x: &x, label })
                    .map_err(|detail| ProgramError::new(format!("{name}: {detail}")))?,
                Err(error) => {
                    let detail = format!("{name}: what a map told of it: {error}");
                    return Err(ProgramError::new(detail));
                }
            }
        }
        if rows.count() > 0 {
            let trained = self.base.train(rows, file, &name)?;
            self.add(&trained, &name)?;
        }
        Ok(())
    }

    fn finish(self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        if self.sum.rows == 0 {
            return Err(ProgramError::new("the input has no rows to learn from"));
        }
        let model = self.model()?;
        let bytes = model.write();
        let bytes = bytes
            .map_err(|error| ProgramError::new(format!("the model cannot be written: {error}")))?;
        out.record(&bytes);
        Ok(())
    }
}

impl Mean<'_> {
    /// Shards come in the order of their files.
    fn add(&mut self, trained: &Trained, name: &str) -> Result<(), ProgramError> {
        let sum = &mut self.sum;
        if sum.rows == 0 {
            sum.features = trained.features;
            sum.deltas = vec![0.0; trained.deltas.len()];
            sum.moments = vec![0.0; trained.moments.len()];
            sum.steps = trained.steps;
        }
        if sum.features != trained.features || sum.deltas.len() != trained.deltas.len() {
            return Err(differs(
                name,
                trained.features as usize,
                sum.features as usize,
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "no shard has 2^53 rows")]
        let weight = trained.rows as f64;
        for (sum, delta) in sum.deltas.iter_mut().zip(&trained.deltas) {
            *sum += weight * delta;
        }
        for (sum, moment) in sum.moments.iter_mut().zip(&trained.moments) {
            *sum += weight * moment;
        }
        sum.steps = sum.steps.min(trained.steps);
        sum.rows += trained.rows;
        sum.epochs += trained.epochs;
        sum.loss += trained.loss;
        sum.errors += trained.errors;
        self.shards += 1;
        Ok(())
    }

    fn model(&self) -> Result<Model, ProgramError> {
        let (base, sum) = (&self.base, &self.sum);
        let settings = base.settings;
        let mut weights = base.weights(sum.features as usize)?;
        let rows = share(sum.rows, 1);
        for (weight, delta) in weights.w.iter_mut().chain(&mut weights.v).zip(&sum.deltas) {
            *weight += delta / rows;
        }
        let plain = match &base.scale {
            Some(scale) => weights.unscaled(scale),
            None => weights.clone(),
        };
        let mut model = Model::default();
        let round = base.round + 1;
        model.note("round", round);
        model.note("rows", sum.rows);
        model.note("shards", self.shards);
        model.note("epochs", sum.epochs);
        model.note("eta", settings.course(base.round).eta);
        model.note("train_error", share(sum.errors, sum.rows));
        model.note("train_loss", sum.loss / rows);
        let stops = self.judge(&plain, &mut model)?;
        let again = round < settings.rounds && !stops;
        model.note("again", again);
        if again {
            model.put("", &plain);
            if let Some(scale) = &base.scale {
                model.put_scale(scale);
                model.put("next.", &weights);
            }
            if !sum.moments.is_empty() {
                let mean = sum.moments.iter().map(|moment| moment / rows);
                model.put_moments(mean.collect());
                model.note("adam_steps", sum.steps);
            }
        } else {
            model.take_best(&plain);
        }
        Ok(model)
    }

    /// Tries the model on rows that none was trained with, and keeps the best one
    /// if a stop is looked for: whether it is time.
    fn judge(&self, plain: &Weights, model: &mut Model) -> Result<bool, ProgramError> {
        let settings = self.base.settings;
        let name = &settings.validate;
        if name.is_empty() {
            return Ok(false);
        }
        let Some(path) = self.context.side_file(name) else {
            let detail = format!("validate={name}: the job did not bring that file");
            return Err(ProgramError::new(detail));
        };
        let rows = read_file(path, name, settings.classes)?;
        if rows.features != plain.shape.features {
            return Err(differs(name, rows.features, plain.shape.features));
        }
        let tally = kernel::judge(&Net::of(plain), &rows, &mut Scratch::default());
        let count = rows.count() as u64;
        model.note("validation_error", share(tally.errors, count));
        model.note("validation_loss", tally.loss / real(rows.count()));
        let Some(patience) = settings.patience else {
            return Ok(false);
        };
        let before = &self.base.before;
        let best: Option<u64> = before.number("best_errors").filter(|_| self.base.round > 0);
        if best.is_none_or(|best| tally.errors < best) {
            model.put("best.", plain);
            model.note("best_errors", tally.errors);
            model.note("best_round", self.base.round + 1);
            return Ok(false);
        }
        let kept = before.weights("best.");
        let kept = kept.map_err(|detail| {
            ProgramError::new(format!("what the round before handed on: {detail}"))
        })?;
        model.put("best.", &kept);
        for name in ["best_errors", "best_round"] {
            model.note(name, before.number::<u64>(name).unwrap_or(0));
        }
        let round = before.number("best_round").unwrap_or(0);
        Ok((self.base.round + 1).saturating_sub(round) >= patience)
    }
}

/// A fraction.
#[expect(clippy::cast_precision_loss, reason = "no job has 2^53 rows")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
