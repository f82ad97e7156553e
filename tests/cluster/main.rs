//! The product as its users run it: real processes on loopback, real signals.
//!
//! Every test of a fault asserts four things: the fault happened, nothing was
//! done twice that need not be, the output equals the oracle's byte for byte,
//! and the cluster serves another job afterwards.

mod authoring;
mod backups;
mod bad_input;
mod closing_outputs;
mod config;
mod data;
mod data_faults;
mod dataset_jobs;
mod datasets;
mod disk_load;
mod disk_mounts;
mod equal_bytes;
mod errors;
mod exec_hostile;
mod exec_jobs;
mod failover;
mod faults;
mod faults_disk_master;
mod faults_disk_worker;
mod faults_load;
mod faults_masters;
mod faults_network;
mod faults_network_links;
mod faults_network_workers;
mod faults_pauses;
mod faults_points;
mod faults_points_master;
mod faults_restart;
mod harness;
mod held_commit;
mod job_form;
mod lab_checks;
mod lab_cluster;
mod lab_program;
mod limits;
mod main_job;
mod memory;
mod model_jobs;
mod mrjob_jobs;
mod notices;
mod own_workers;
mod power_cuts;
mod process_life;
mod programs;
mod retries;
mod skipping;
mod sort_jobs;
mod table_jobs;
mod worker_loss;
mod zombie;
