//! `ValueService`: small named values.

use tonic::{Request, Response, Status};
use vivat_core::command::{DataCommand, Rejection, Reply};
use vivat_proto::v1;
use vivat_proto::v1::value_service_server::ValueService;

use super::Services;
use super::data::page;
use super::jobs::unexpected;
use crate::leader::LeaderError;

/// Values of one page.
const VALUES_LISTED_MAX: usize = 1_000;

#[tonic::async_trait]
impl ValueService for Services {
    async fn put_value(
        &self,
        request: Request<v1::PutValueRequest>,
    ) -> Result<Response<v1::PutValueResponse>, Status> {
        let request = request.into_inner();
        let command = DataCommand::PutValue {
            key: request.key,
            name: request.name,
            value: request.value.to_vec(),
            expect_version: request.expect_version,
        };
        match self.change(command).await? {
            Reply::Version(version) => Ok(Response::new(v1::PutValueResponse { version })),
            other => Err(unexpected(&other)),
        }
    }

    async fn get_value(
        &self,
        request: Request<v1::GetValueRequest>,
    ) -> Result<Response<v1::GetValueResponse>, Status> {
        let name = request.into_inner().name;
        let answer = self
            .look(|state| {
                let value = state.values().get(&name)?;
                Some(v1::GetValueResponse {
                    value: value.bytes.to_vec().into(),
                    version: value.version,
                    written_at_ms: value.written_at_ms,
                })
            })
            .await?;
        answer
            .map(Response::new)
            .ok_or_else(|| self.status(LeaderError::Rejected(Rejection::UnknownValue(name))))
    }

    async fn remove_value(
        &self,
        request: Request<v1::RemoveValueRequest>,
    ) -> Result<Response<v1::RemoveValueResponse>, Status> {
        let request = request.into_inner();
        let command = DataCommand::RemoveValue {
            key: request.key,
            name: request.name,
            expect_version: request.expect_version,
        };
        self.change(command).await?;
        Ok(Response::new(v1::RemoveValueResponse {}))
    }

    async fn list_values(
        &self,
        request: Request<v1::ListValuesRequest>,
    ) -> Result<Response<v1::ListValuesResponse>, Status> {
        let request = request.into_inner();
        let limit = page(request.limit, VALUES_LISTED_MAX);
        let answer = self
            .look(|state| {
                let mut rest = state.values().after(&request.after);
                let values = rest
                    .by_ref()
                    .take(limit)
                    .map(|(name, value)| v1::ValueSummary {
                        name: name.to_owned(),
                        version: value.version,
                        bytes: value.bytes.len() as u64,
                        written_at_ms: value.written_at_ms,
                    })
                    .collect();
                let more = rest.next().is_some();
                v1::ListValuesResponse { values, more }
            })
            .await?;
        Ok(Response::new(answer))
    }
}
