//! The values' calls, in domain types.

use bytes::Bytes;
use vivat_proto::v1;

use super::value_service;
use crate::error::ClientError;
use crate::jobs::timed;
use crate::leader::LeaderClient;

/// Values on one page.
const VALUES_LISTED: u32 = 500;

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which version they are.
    pub version: u64,
    /// When it was written.
    pub written_at_ms: u64,
}

/// A named value without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was written.
    pub written_at_ms: u64,
}

impl LeaderClient {
    /// Writes a value, whatever there is or only over that version (0: only if
    /// there is none); the new version. Every try carries the same key, so a try
    /// whose answer was lost writes once.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `VersionConflict`, `InvalidSpec`
    /// and `Limit`.
    pub async fn put_value(
        &self,
        key: &str,
        name: &str,
        value: Bytes,
        expect_version: Option<u64>,
    ) -> Result<u64, ClientError> {
        let request = v1::PutValueRequest {
            key: key.to_owned(),
            name: name.to_owned(),
            value,
            expect_version,
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { value_service(channel).put_value(request).await }
            })
            .await?;
        Ok(answer.version)
    }

    /// A value.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownValue`.
    pub async fn get_value(&self, name: &str) -> Result<Value, ClientError> {
        let request = v1::GetValueRequest {
            name: name.to_owned(),
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { value_service(channel).get_value(request).await }
            })
            .await?;
        Ok(Value {
            bytes: answer.value,
            version: answer.version,
            written_at_ms: answer.written_at_ms,
        })
    }

    /// Removes a value, whatever it is or only that version of it.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `UnknownValue` and
    /// `VersionConflict`.
    pub async fn remove_value(
        &self,
        key: &str,
        name: &str,
        expect_version: Option<u64>,
    ) -> Result<(), ClientError> {
        let request = v1::RemoveValueRequest {
            key: key.to_owned(),
            name: name.to_owned(),
            expect_version,
        };
        self.call_leader(|channel, timeout| {
            let request = timed(request.clone(), timeout);
            async move { value_service(channel).remove_value(request).await }
        })
        .await?;
        Ok(())
    }

    /// Every value, by name.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn list_values(&self) -> Result<Vec<ValueView>, ClientError> {
        let mut all: Vec<ValueView> = Vec::new();
        loop {
            let request = v1::ListValuesRequest {
                after: all.last().map(|last| last.name.clone()).unwrap_or_default(),
                limit: VALUES_LISTED,
            };
            let answer = self
                .call_leader(|channel, timeout| {
                    let request = timed(request.clone(), timeout);
                    async move { value_service(channel).list_values(request).await }
                })
                .await?;
            let ends = !answer.more || answer.values.is_empty();
            all.extend(answer.values.into_iter().map(|value| ValueView {
                name: value.name,
                version: value.version,
                bytes: value.bytes,
                written_at_ms: value.written_at_ms,
            }));
            if ends {
                return Ok(all);
            }
        }
    }
}
